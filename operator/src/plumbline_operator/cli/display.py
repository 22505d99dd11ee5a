"""The live display of `plumbline run`: one line per stage and evaluation, with bar, step, loss, accuracy and ETA.

On a terminal it is redrawn in place; elsewhere a plain line is printed for every transition and every tenth of the
way. It is fed with statuses only, so it shows the same whatever runs below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from plumbline_api.alignment import AlignmentRunStatus, StageState
from plumbline_api.gate import EvalGateStatus
from plumbline_api.names import SHORT_NAMES
from plumbline_api.progress import Progress
from plumbline_api.reasons import ConditionType, Phase
from plumbline_operator.cli.tables import numbers
from plumbline_operator.observed import Key, PlumblineStatus
from plumbline_operator.status.conditions import find_condition

__all__ = ["Display", "Line", "lines_of"]

_ENDED = {"Succeeded", "Passed", "Serving", "Ready"}
_BAD = {"Failed", "NotPassed", "Stalled"}


@dataclass(frozen=True)
class Line:
    """One thing that is being done."""

    name: str
    state: str
    message: str = ""
    progress: Progress | None = None
    cached: bool = False


def lines_of(key: Key, status: PlumblineStatus) -> tuple[Line, ...]:
    """The lines of one object: a run has one per stage, everything else one."""
    name = f"{SHORT_NAMES[key.kind]}/{key.name}"
    ready = find_condition(status.conditions, ConditionType.READY)
    said = "" if ready is None else ready.message
    if isinstance(status, AlignmentRunStatus) and status.stages:
        stalled = status.phase == Phase.STALLED
        return tuple(
            Line(
                f"{name} {row.name}",
                Phase.STALLED if stalled and row.state == StageState.PENDING else row.state.value,
                row.message or (said if row.state == StageState.PENDING else ""),
                row.progress if row.state == StageState.RUNNING else None,
                row.cached,
            )
            for row in status.stages
        )
    progress = status.progress if isinstance(status, EvalGateStatus) else None
    return (Line(name, status.phase.value, said, progress),)


class Display:
    """Shows statuses as they come; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=False) if console.is_terminal else None
        self._told: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, statuses: Sequence[tuple[Key, PlumblineStatus]]) -> None:
        """Show these statuses of all objects."""
        lines = [line for key, status in statuses for line in lines_of(key, status)]
        if self._live is not None:
            self._live.update(_draw(lines))
        else:
            for line in lines:
                self._tell(line)

    def _tell(self, line: Line) -> None:
        """Print a plain line where the state changed or another tenth of the way is done."""
        tenth = -1 if line.progress is None else line.progress.progress_percentage // 10
        if self._told.get(line.name) == (line.state, tenth):
            return
        self._told[line.name] = (line.state, tenth)
        words = [f"{line.name}: {line.state}{' (recorded result)' if line.cached else ''}"]
        if line.progress is not None:
            words.append(numbers(line.progress))
        elif line.message:
            words.append(line.message)
        self._console.print(", ".join(words), highlight=False, markup=False, soft_wrap=True)


def _draw(lines: Sequence[Line]) -> RenderableType:
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False, expand=False)
    for _ in range(4):
        table.add_column(no_wrap=False, overflow="fold")
    for line in lines:
        table.add_row(_mark(line), line.name, _bar(line), _say(line))
    return table


def _mark(line: Line) -> RenderableType:
    if line.state in _ENDED:
        return Text("✓", style="green")
    if line.state in _BAD:
        return Text("✗", style="red")
    return Spinner("dots", style="cyan") if line.state == "Running" else Text("·", style="dim")


def _bar(line: Line) -> RenderableType:
    if line.progress is None:
        return Text(line.state + (" (recorded)" if line.cached else ""), style="dim")
    return ProgressBar(total=100, completed=line.progress.progress_percentage, width=24)


def _say(line: Line) -> Text:
    if line.progress is not None:
        return Text(numbers(line.progress))
    style = "red" if line.state in _BAD else "dim"
    return Text(line.message, style=style)
