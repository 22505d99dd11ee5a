"""How far something is that takes long: a bar on a terminal, a plain line for every tenth elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

__all__ = ["Meter"]

_LEAST = 256 << 20
"""Bytes below which no tenths are told: that takes a few seconds."""


class Meter:
    """Counts bytes; a context, so that the bar is gone at its end."""

    def __init__(self, console: Console, what: str, total: int) -> None:
        """Nothing is shown yet."""
        self._console, self._what, self._total = console, what, total
        self._done = self._told = 0
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def add(self, count: int) -> None:
        """So many bytes more are done; fewer than none where some have to be done again."""
        self._done += count
        if self._console.is_terminal:
            self._bar.update(self._task, completed=self._done)
            return
        tenth = 10 * self._done // max(self._total, 1)
        if self._total >= _LEAST and tenth > self._told:
            self._told = tenth
            self._console.print(f"{self._what}: {tenth}0 %")
