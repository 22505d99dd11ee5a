"""Progress lines of a stage (names.ENV_PROGRESS): the phase before training, then step, loss and what is left.

Written by `stage` and by the training loop's callback; read by the progress display. About four lines a second at most.
"""

import logging
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from plumbline_api.progress import Metric, Progress

__all__ = ["SHOWN", "ProgressLog"]

log = logging.getLogger(__name__)

SECONDS_BETWEEN: Final = 0.25
SHOWN: Final = (
    "loss", "rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected", "grad_norm",
    "learning_rate", "mean_token_accuracy",
)  # fmt: skip
"""The numbers of the trainers' logs that people see."""


class ProgressLog:
    """Appends Progress documents to a file; does nothing where nobody looks."""

    def __init__(self, path: Path | None, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._clock = clock
        self._last: datetime | None = None
        self._began: tuple[datetime, int] | None = None
        self._numbers: dict[str, float] = {}
        self._percentage = 0

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        """Say what goes on while there are no steps; with numbers, how far it is (and then not too often)."""
        counted = (Metric(name="done", value=str(done)), Metric(name="total", value=str(total))) if total else ()
        self._write(self._percentage, None, (Metric(name="phase", value=name), *counted), always=not total)

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
        if self._path is None or (recent and not always):
            return
        self._last = now
        line = Progress(
            progress_percentage=percentage,
            estimated_remaining_seconds=remaining,
            metrics=metrics,
            last_updated_time=now,
        )
        try:
            with self._path.open("a", encoding="utf-8") as out:
                out.write(line.model_dump_json(by_alias=True, exclude_none=True) + "\n")
        except OSError as error:
            log.warning("%s: progress is not told any more (%s)", self._path, error.strerror)
            self._path = None  # nobody can look, and training is worth more than its display
