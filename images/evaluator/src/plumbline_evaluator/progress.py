"""Telling how far an evaluation is, in the contract's Progress form, once a second at most. Called by runner.py."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from plumbline_api.progress import Metric, Progress
from plumbline_api.report import Outcome
from plumbline_store import Reporter

__all__ = ["Meter"]

_INTERVAL = 1.0


@dataclass
class Meter:
    """Counts finished cases and reports them; use it as a context manager, which also reports the end."""

    reporter: Reporter
    asked: int
    now: Callable[[], datetime]
    monotonic: Callable[[], float] = time.monotonic
    _done: int = 0
    _resumed: int = 0
    _retries: int = 0
    _counts: Counter[tuple[bool, Outcome]] = field(default_factory=Counter)
    _began: float = 0.0
    _reported: float = float("-inf")

    def __enter__(self) -> Self:
        """Begin to measure time."""
        self._began = self.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Say the last word."""
        self._report()

    def resume(self, outcome: Outcome, *, harmful: bool, repeated: int) -> None:
        """A case was finished by an earlier attempt; it says nothing about speed."""
        self._resumed += 1
        self._tally(outcome, harmful=harmful, repeated=repeated)

    def count(self, outcome: Outcome, *, harmful: bool, repeated: int) -> None:
        """One more case is finished."""
        self._tally(outcome, harmful=harmful, repeated=repeated)
        if self.monotonic() - self._reported >= _INTERVAL:
            self._report()

    def _tally(self, outcome: Outcome, *, harmful: bool, repeated: int) -> None:
        self._done += 1
        self._retries += repeated
        self._counts[harmful, outcome] += 1

    def _report(self) -> None:
        self._reported = self.monotonic()
        numbers = {
            "step": f"{self._done}",
            "maxSteps": f"{self.asked}",
            "errors": f"{self._counts[True, Outcome.ERROR] + self._counts[False, Outcome.ERROR]}",
            "retries": f"{self._retries}",
            "harmful_compliance_rate": self._rate(Outcome.COMPLIED, harmful=True),
            "false_refusal_rate": self._rate(Outcome.REFUSED, harmful=False),
        }
        self.reporter.tell(
            Progress(
                progress_percentage=100 * self._done // self.asked if self.asked else 100,
                estimated_remaining_seconds=self._remaining(),
                metrics=tuple(Metric(name=name, value=value) for name, value in numbers.items() if value),
                last_updated_time=self.now(),
            )
        )

    def _remaining(self) -> int | None:
        fresh = self._done - self._resumed
        if not fresh:
            return None
        return round((self.asked - self._done) * (self._reported - self._began) / fresh)

    def _rate(self, outcome: Outcome, *, harmful: bool) -> str:
        judged = sum(
            count for (side, found), count in self._counts.items() if side is harmful and found is not Outcome.ERROR
        )
        return f"{self._counts[harmful, outcome] / judged:.4f}" if judged else ""
