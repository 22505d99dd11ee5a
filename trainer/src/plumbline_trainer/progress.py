"""Progress of a stage: the phase before training, then step, loss and what is left.

Told by `stage` and by the training loop's callback, about four times a second at most; the reporter brings it to
whoever looks.
"""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from plumbline_api.progress import Metric, Progress
from plumbline_store import Reporter

__all__ = ["SHOWN", "ProgressLog"]

SECONDS_BETWEEN: Final = 0.25
SHOWN: Final = (
    "loss", "rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected", "grad_norm",
    "learning_rate", "mean_token_accuracy",
)  # fmt: skip
"""The numbers of the trainers' logs that people see."""


class ProgressLog:
    """Makes Progress documents for a reporter."""

    def __init__(self, reporter: Reporter, clock: Callable[[], datetime]) -> None:
        self._reporter = reporter
        self._clock = clock
        self._last: datetime | None = None
        self._began: tuple[datetime, int] | None = None
        self._numbers: dict[str, float] = {}
        self._percentage = 0

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        """Say what goes on while there are no steps; with numbers, how far it is (and then not too often)."""
        counted = (Metric(name="done", value=str(done)), Metric(name="total", value=str(total))) if total else ()
        self._write(self._percentage, None, (Metric(name="phase", value=name), *counted), always=not total)

    def trained(self, next_phase: str) -> None:
        """Say what goes on when all steps are done, wherever they were counted."""
        self._percentage = 100
        self.phase(next_phase)

    def step(self, step: int, max_steps: int, numbers: Mapping[str, float] | None = None) -> None:
        """Say that a step is done; numbers are kept until newer ones come."""
        now = self._clock()
        self._began = self._began or (now, step - 1)
        self._numbers.update({name: value for name, value in (numbers or {}).items() if name in SHOWN})
        metrics = [Metric(name="phase", value="training"), Metric(name="step", value=str(step))]
        metrics.append(Metric(name="maxSteps", value=str(max_steps)))
        metrics += [Metric(name=name, value=f"{value:.6g}") for name, value in self._numbers.items()]
        self._percentage = min(100, 100 * step // max_steps)
        self._write(self._percentage, self._remaining(now, step, max_steps), tuple(metrics), always=step == max_steps)

    def _remaining(self, now: datetime, step: int, max_steps: int) -> int | None:
        if self._began is None:
            return None
        began, first = self._began
        seconds = (now - began).total_seconds()
        return math.ceil(seconds / (step - first) * (max_steps - step)) if step > first + 1 else None

    def _write(self, percentage: int, remaining: int | None, metrics: tuple[Metric, ...], *, always: bool) -> None:
        now = self._clock()
        recent = self._last is not None and (now - self._last).total_seconds() < SECONDS_BETWEEN
        if recent and not always:
            return
        self._last = now
        self._reporter.tell(
            Progress(
                progress_percentage=percentage,
                estimated_remaining_seconds=remaining,
                metrics=metrics,
                last_updated_time=now,
            )
        )
