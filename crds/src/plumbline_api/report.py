"""Report v1: what a Job did. Written by trainer and evaluator; read by the operator and by people.

The full report is an artifact. Its summary travels as the termination message (names.SUMMARY_LIMIT_BYTES at most)
and is all that the operator needs to decide.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, field_serializer, field_validator

from plumbline_api.artifact import ArtifactRef
from plumbline_api.metrics import (
    Coverage,
    JudgeQuality,
    MetricName,
    MetricRow,
    Rates,
    Split,
    format_selector,
    list_rates,
    tabulate,
)
from plumbline_api.model import Document, Timestamp
from plumbline_api.reasons import Reason
from plumbline_api.scalars import Digest

__all__ = ["CaseResult", "Outcome", "Report", "Result", "Summary"]


class Result(StrEnum):
    """How the Job ended, in its own words (the exit code says the same)."""

    SUCCEEDED = "Succeeded"
    """Done (exit code 0)."""
    FAILED = "Failed"
    """Not done; reason and message say why."""
    PREEMPTED = "Preempted"
    """Stopped on request; start it again to resume (exit code 75)."""


class Outcome(StrEnum):
    """What a judge says of the answers of one case."""

    COMPLIED = "Complied"
    """Did as it was asked, at any place of any answer."""
    REFUSED = "Refused"
    """Refused."""
    NEITHER = "Neither"
    """Neither did it nor refused."""
    ERROR = "Error"
    """Gave no answer, or none that could be judged."""


class CaseResult(Document):
    """One case of a red-team execution, without its text."""

    id: Annotated[str, Field(max_length=128)]
    """The case's id; the same for every subject."""
    harmful: bool
    """Whether the request is harmful, or a benign twin."""
    labels: dict[str, str]
    """category, attack, split."""
    outcome: Outcome
    """What the judge says."""
    attempts: int = 1
    """Requests that were sent, retries included."""


class Summary(Document):
    """What the operator reads."""

    version: Literal[1] = 1
    """Version of this format."""
    result: Result
    """How the Job ended."""
    reason: Reason = Reason.SUCCEEDED
    """Why, for programs."""
    message: Annotated[str, Field(max_length=512)] = ""
    """For people: the place, the fact, the remedy; never a prompt or a secret."""
    cache_key: Digest | None = None
    """The RunFile's cache key."""
    cached: bool = False
    """Whether the result was taken from an identical earlier Job."""
    output: ArtifactRef | None = None
    """Training: the model or adapter. Evaluation: absent."""
    report: ArtifactRef | None = None
    """The full report; absent where the Job failed before it could write one."""
    subject: Digest | None = None
    """Evaluation: digest of the model that answered."""
    cases: Digest | None = None
    """Evaluation: digest of the list of cases, which gives outcomes their order."""
    rows: Annotated[tuple[MetricRow, ...], Field(max_length=96)] = ()
    """The rates; on the wire compact: by metric, then by labels, numerator and denominator."""
    outcomes: dict[Split, dict[MetricName, Annotated[str, Field(max_length=1024)]]] = Field(default_factory=dict)
    """Per-case outcomes (metrics.pack_outcomes) for paired comparison: by split and metric, in case order."""
    coverage: Coverage | None = None
    """Whether everything that was asked for was done."""
    judges: Annotated[tuple[JudgeQuality, ...], Field(max_length=4)] = ()
    """How good the judges are on answers that people labelled."""

    @field_serializer("rows", when_used="json")
    def _write_rows(self, rows: tuple[MetricRow, ...]) -> Rates:
        return tabulate(rows)

    @field_validator("rows", mode="before")
    @classmethod
    def _read_rows(cls, given: object) -> object:
        return list_rates(given) if isinstance(given, dict) else given

    @field_validator("rows", mode="after")
    @classmethod
    def _order_rows(cls, rows: tuple[MetricRow, ...]) -> tuple[MetricRow, ...]:
        by_selector = {format_selector(row.metric, row.labels): row for row in rows}
        if len(by_selector) != len(rows):
            raise ValueError("rows: one metric stands twice with the same labels")
        return tuple(by_selector[selector] for selector in sorted(by_selector))


class Report(Document):
    """Everything, for people and for the record."""

    version: Literal[1] = 1
    """Version of this format."""
    summary: Summary
    """What the operator reads."""
    owner: Annotated[str, Field(max_length=200)]
    """Kind/namespace/name of the object the Job was for."""
    stage: Annotated[str, Field(max_length=63)]
    """The stage or suite."""
    image: Annotated[str, Field(max_length=512)]
    """The image it ran in."""
    inputs: dict[str, Digest]
    """Digests of what was read, by role."""
    start_time: Timestamp
    """When the Job began."""
    completion_time: Timestamp
    """When the Job ended."""
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds by part of the work."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of what computed the result."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Training: the last logged numbers."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Data: rows in, kept, and rejected by reason."""
    results: tuple[CaseResult, ...] = ()
    """Evaluation: every case."""
    advice: tuple[str, ...] = ()
    """What to try next, from the evidence."""
