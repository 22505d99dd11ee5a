"""Progress of a Job, in the field names of Kubeflow Trainer's status endpoint (`trainerStatus`).

Written by trainer and evaluator as JSON lines (names.ENV_PROGRESS); read by the progress display and the status.
"""

from typing import Annotated

from pydantic import Field

from plumbline_api.model import Document, Timestamp

__all__ = ["Metric", "Progress"]


class Metric(Document):
    """One named number of a progress report, as text (Kubeflow's wire format)."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """What it is."""
    value: Annotated[str, Field(max_length=64)]
    """The number as text."""


class Progress(Document):
    """How far a Job is."""

    progress_percentage: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of the work that is done."""
    estimated_remaining_seconds: Annotated[int, Field(ge=0)] | None = None
    """Time to the end at the present speed; absent where nobody can tell."""
    metrics: Annotated[tuple[Metric, ...], Field(max_length=32)] = ()
    """Among them `step` and `maxSteps`, and for training `loss`, `rewards/accuracies`, `rewards/margins` ..."""
    last_updated_time: Timestamp
    """When this was written."""

    def number(self, name: str) -> float | None:
        """The metric of this name as a number, or None where it is absent or not a number."""
        for metric in self.metrics:
            if metric.name == name:
                try:
                    return float(metric.value)
                except ValueError:
                    return None
        return None
