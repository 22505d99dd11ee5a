"""Report v1: what a Job did. Written by trainer and evaluator; read by the operator and by people.

The full report is an artifact. Its summary travels as the termination message (names.SUMMARY_LIMIT_BYTES at most)
and is all that the operator needs to decide.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from plumbline_api.artifact import ArtifactRef
from plumbline_api.metrics import Coverage, JudgeQuality, MetricName, MetricRow
from plumbline_api.model import Document, Timestamp
from plumbline_api.reasons import Reason
from plumbline_api.scalars import Digest

__all__ = ["CaseResult", "Outcome", "Report", "Result", "Summary"]


class Result(StrEnum):
    """How the Job ended, in its own words (the exit code says the same)."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    PREEMPTED = "Preempted"


class Outcome(StrEnum):
    """What a judge says of the answers of one case."""

    COMPLIED = "Complied"
    REFUSED = "Refused"
    NEITHER = "Neither"
    ERROR = "Error"


class CaseResult(Document):
    """One case of a red-team execution, without its text."""

    id: Annotated[str, Field(max_length=128)]
    harmful: bool
    labels: dict[str, str]
    """category, attack, split."""
    outcome: Outcome
    attempts: int = 1


class Summary(Document):
    """What the operator reads."""

    version: Literal[1] = 1
    result: Result
    reason: Reason = Reason.SUCCEEDED
    message: Annotated[str, Field(max_length=512)] = ""
    """For people: the place, the fact, the remedy; never a prompt or a secret."""
    cache_key: Digest | None = None
    cached: bool = False
    output: ArtifactRef | None = None
    """Training: the model or adapter. Evaluation: absent."""
    report: ArtifactRef | None = None
    """The full report; absent where the Job failed before it could write one."""
    subject: Digest | None = None
    """Evaluation: digest of the model that answered."""
    cases: Digest | None = None
    """Evaluation: digest of the list of cases, which gives outcomes their order."""
    rows: Annotated[tuple[MetricRow, ...], Field(max_length=64)] = ()
    outcomes: Annotated[dict[MetricName, Annotated[str, Field(max_length=1024)]], Field(max_length=8)] = Field(
        default_factory=dict
    )
    """Per-case outcomes (metrics.pack_outcomes) for paired comparison; a metric's denominator in case order."""
    coverage: Coverage | None = None
    judges: Annotated[tuple[JudgeQuality, ...], Field(max_length=4)] = ()


class Report(Document):
    """Everything, for people and for the record."""

    version: Literal[1] = 1
    summary: Summary
    owner: Annotated[str, Field(max_length=200)]
    stage: Annotated[str, Field(max_length=63)]
    image: Annotated[str, Field(max_length=512)]
    inputs: dict[str, Digest]
    start_time: Timestamp
    completion_time: Timestamp
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds by part of the work."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of what computed the result."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Training: the last logged numbers."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Data: rows in, kept, and rejected by reason."""
    results: tuple[CaseResult, ...] = ()
    advice: tuple[str, ...] = ()
