"""Progress of a Job, in the field names of Kubeflow Trainer's status endpoint (`trainerStatus`).

Written by trainer and evaluator, as JSON lines (names.ENV_PROGRESS) or to the operator's status endpoint
(names.ENV_STATUS_URL); read by the progress display, the operator and the status.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field

from plumbline_api.model import Document, Timestamp

__all__ = ["BadReport", "Metric", "Progress", "read_report", "report_body"]

_MOST_METRICS: Final = 32
_LONGEST: Final = 64
_MOST_SECONDS: Final = 2**31 - 1
"""What an estimate is cut to: the API server takes no longer numbers."""
_OURS: Final[Mapping[str, str]] = {"current_step": "step", "total_steps": "maxSteps"}
"""What transformers calls the steps, and what we do."""


class Metric(Document):
    """One named number of a progress report, as text (Kubeflow's wire format)."""

    name: Annotated[str, Field(min_length=1, max_length=_LONGEST)]
    """What it is."""
    value: Annotated[str, Field(max_length=_LONGEST)]
    """The number as text."""


class Progress(Document):
    """How far a Job is."""

    progress_percentage: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of the work that is done."""
    estimated_remaining_seconds: Annotated[int, Field(ge=0)] | None = None
    """Time to the end at the present speed; absent where nobody can tell."""
    metrics: Annotated[tuple[Metric, ...], Field(max_length=_MOST_METRICS)] = ()
    """Among them `step` and `maxSteps`, and for training `loss`, `rewards/accuracies`, `rewards/margins` ..."""
    last_updated_time: Timestamp
    """When this was written; in a cluster, when it came in."""

    def number(self, name: str) -> float | None:
        """The metric of this name as a number, or None where it is absent or not a number."""
        for metric in self.metrics:
            if metric.name == name:
                try:
                    return float(metric.value)
                except ValueError:
                    return None
        return None


class BadReport(ValueError):
    """What was posted is no report; the text names the field and quotes nothing."""


def report_body(progress: Progress) -> bytes:
    """What is posted to a status endpoint."""
    return json.dumps({"trainerStatus": progress.dump()}).encode()


def read_report(body: bytes, received: datetime) -> Progress:
    """The Progress in what was posted.

    Fields that are not known are passed over, and so are metrics with unusable names or texts and those beyond the
    limit, the steps last: a trainer may tell more than we keep. The moment is that of the receiver, because a pod's
    clock may be wrong.

    Raises:
        BadReport: It is no report at all, or a field that is known is not what it should be.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadReport("the body is no JSON") from error
    status = found.get("trainerStatus") if isinstance(found, dict) else None
    if not isinstance(status, dict):
        raise BadReport("trainerStatus: an object is needed")
    percentage = _whole(status, "progressPercentage")
    if percentage is not None and percentage > 100:
        raise BadReport("progressPercentage: a whole number from 0 to 100 is needed")
    remaining = _whole(status, "estimatedRemainingSeconds")
    return Progress(
        progress_percentage=percentage or 0,
        estimated_remaining_seconds=None if remaining is None else min(remaining, _MOST_SECONDS),
        metrics=_metrics(status.get("metrics")),
        last_updated_time=received,
    )


def _whole(status: Mapping[str, Any], name: str) -> int | None:
    value = status.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadReport(f"{name}: a whole number, 0 or more, is needed")
    return value


def _metrics(given: object) -> tuple[Metric, ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise BadReport("metrics: a list is needed")
    found = dict(_usable(given))
    steps = [name for name in _OURS.values() if name in found]
    names = [*steps, *(name for name in found if name not in steps)][:_MOST_METRICS]
    return tuple(Metric(name=name, value=found[name]) for name in names)


def _usable(given: list[object]) -> Iterator[tuple[str, str]]:
    for metric in given:
        name, value = (metric.get("name"), metric.get("value")) if isinstance(metric, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(value, str):
            continue
        if 0 < len(name) <= _LONGEST and len(value) <= _LONGEST and (name + value).isprintable():
            yield _OURS.get(name, name), value
