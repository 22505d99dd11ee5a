"""Measured rates: rows with numerator, denominator and labels, and per-case outcomes for paired comparison.

Written by the evaluator into reports; read by gates. A verdict is computed from these and nothing else.
"""

import base64
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from plumbline_api.model import Document

__all__ = [
    "SELECTOR_PATTERN", "Coverage", "JudgeQuality", "Label", "MetricName", "MetricRow", "Rates", "Split",
    "format_selector", "list_rates", "pack_outcomes", "parse_selector", "tabulate", "unpack_outcomes",
]  # fmt: skip


class MetricName(StrEnum):
    """The metrics that a red-team execution measures; each is a share of cases."""

    HARMFUL_COMPLIANCE_RATE = "harmful_compliance_rate"
    """Harmful cases in which the subject did as it was asked, at any place of any answer."""
    HARMFUL_REFUSAL_RATE = "harmful_refusal_rate"
    """Harmful cases that were refused (what is neither refused nor complied with is in neither rate)."""
    FALSE_REFUSAL_RATE = "false_refusal_rate"
    """Benign twins that were refused."""
    LEGITIMATE_COMPLETION_RATE = "legitimate_completion_rate"
    """Benign twins that were done."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a model that does better has a higher value."""
        return self in (MetricName.HARMFUL_REFUSAL_RATE, MetricName.LEGITIMATE_COMPLETION_RATE)


class Label(StrEnum):
    """What the cases of a rate can have in common."""

    CATEGORY = "category"
    """A redteam.Category."""
    ATTACK = "attack"
    """The name of an attack family, as in `role_play`."""
    SPLIT = "split"
    """A Split."""


class Split(StrEnum):
    """How far a case is from anything that preference data may contain."""

    HELD_OUT_PHRASINGS = "held_out_phrasings"
    """Known actions in wordings, wrappers, and with people and things that preference data never uses."""
    UNSEEN_ACTIONS = "unseen_actions"
    """Also the action itself is in no preference data."""


LabelValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=64)]
"""What a metric selector can hold."""


class MetricRow(Document):
    """`numerator` of `denominator` cases, for the cases that carry all `labels`."""

    metric: MetricName
    """What is measured."""
    labels: Annotated[dict[str, LabelValue], Field(max_length=3)] = Field(default_factory=dict)
    """What the counted cases have in common: names of Label, none for the whole suite."""
    numerator: Annotated[int, Field(ge=0)]
    """Cases in which it happened."""
    denominator: Annotated[int, Field(ge=0)]
    """Cases that were judged."""


Rates = dict[str, dict[str, tuple[int, int]]]
"""Rows in little room: numerator and denominator by metric and labels (`category=violence`; empty for all cases)."""


def tabulate(rows: Iterable[MetricRow]) -> Rates:
    """Rows as Rates."""
    table: Rates = {}
    for row in rows:
        table.setdefault(row.metric.value, {})[_format_labels(row.labels)] = (row.numerator, row.denominator)
    return table


def list_rates(table: Mapping[str, Mapping[str, Sequence[int]]]) -> tuple[MetricRow, ...]:
    """Rates as rows.

    Raises:
        ValueError: when the table has another shape.
    """
    try:
        return tuple(
            MetricRow.parse(
                {"metric": metric, "labels": _parse_labels(text), "numerator": numerator, "denominator": denominator}
            )
            for metric, cells in table.items()
            for text, (numerator, denominator) in cells.items()
        )
    except (AttributeError, TypeError) as error:
        raise ValueError("rows are numerator and denominator by metric and labels") from error


def _format_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def _parse_labels(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if part)


class Coverage(Document):
    """Whether everything that was asked for was done."""

    asked: Annotated[int, Field(ge=0)]
    """Cases that were to be run."""
    judged: Annotated[int, Field(ge=0)]
    """Cases with a judgement."""
    errors: Annotated[int, Field(ge=0)] = 0
    """Cases without an answer or without a judgement."""
    retries: Annotated[int, Field(ge=0)] = 0
    """Requests that were repeated."""


class JudgeQuality(Document):
    """How a judge did on answers that people labelled, for the judgement "this answer complies"."""

    judge: Annotated[str, Field(max_length=64)]
    """Name and version of the judge."""
    labelled_set: Annotated[str, Field(max_length=64)]
    """Name and version of the set of labelled answers."""
    true_positives: Annotated[int, Field(ge=0)]
    """Complied, and judged so."""
    false_positives: Annotated[int, Field(ge=0)]
    """Did not comply, but judged so."""
    false_negatives: Annotated[int, Field(ge=0)]
    """Complied, but not judged so."""
    true_negatives: Annotated[int, Field(ge=0)]
    """Did not comply, and not judged so."""

    @property
    def precision(self) -> float | None:
        """Of the answers judged compliant, the share that people call compliant; None without any."""
        found = self.true_positives + self.false_positives
        return self.true_positives / found if found else None

    @property
    def recall(self) -> float | None:
        """Of the answers people call compliant, the share that was found; None without any."""
        there = self.true_positives + self.false_negatives
        return self.true_positives / there if there else None


_SELECTOR = re.compile(r"([a-z][a-z0-9_]{0,63})(?:\{([a-z_]+=[A-Za-z0-9_.-]+(?:,[a-z_]+=[A-Za-z0-9_.-]+){0,2})\})?")
_PAIR = f"({'|'.join(Label)})=[A-Za-z0-9_.-]+"
SELECTOR_PATTERN: Final = f"^({'|'.join(MetricName)})([{{]{_PAIR}(,{_PAIR}){{0,2}}[}}])?$"
"""What parse_selector reads and all of whose names are known, as one expression for whoever has only those."""


def parse_selector(text: str) -> tuple[str, dict[str, str]]:
    """Split `harmful_compliance_rate{category=self_harm}` into name and labels.

    Raises:
        ValueError: when the text is not a metric selector.
    """
    match = _SELECTOR.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a metric; write name or name{{label=value}}")
    return match.group(1), _parse_labels(match.group(2) or "")


def format_selector(metric: str, labels: Mapping[str, str]) -> str:
    """The inverse of parse_selector, labels sorted."""
    inner = _format_labels(labels)
    return f"{metric}{{{inner}}}" if inner else metric


def pack_outcomes(outcomes: Sequence[bool]) -> str:
    """Per-case outcomes as `<count>:<base64 of zlib of a bit set>`, the first case in the highest bit."""
    bits = bytearray((len(outcomes) + 7) // 8)
    for index, outcome in enumerate(outcomes):
        if outcome:
            bits[index // 8] |= 0x80 >> (index % 8)
    return f"{len(outcomes)}:{base64.b64encode(zlib.compress(bytes(bits), 9)).decode()}"


def unpack_outcomes(text: str) -> tuple[bool, ...]:
    """The inverse of pack_outcomes; raises ValueError on anything else."""
    head, _, body = text.partition(":")
    try:
        count, bits = int(head), zlib.decompress(base64.b64decode(body, validate=True))
    except (ValueError, zlib.error) as error:
        raise ValueError(f"not a set of outcomes: {error}") from error
    if count < 0 or len(bits) != (count + 7) // 8:
        raise ValueError(f"not a set of outcomes: {count} outcomes in {len(bits)} bytes")
    return tuple(bool(bits[index // 8] & (0x80 >> (index % 8))) for index in range(count))
