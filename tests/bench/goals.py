"""What a benchmark says: for every goal a line with what was measured, how busy the machine was, and the verdict."""

import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Goal", "cpu_seconds", "judge", "median", "resident_bytes", "spread"]


@dataclass(frozen=True)
class Goal:
    """A number that shall be at least, or at most, another one."""

    what: str
    measured: float
    limit: float
    unit: str
    least: bool = False
    """The limit is what is wanted at least."""
    remark: str = ""
    """What the number comes from, for example each round."""

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.measured >= self.limit if self.least else self.measured <= self.limit

    def __str__(self) -> str:
        bound = f"{'>=' if self.least else '<='} {self.limit:g} {self.unit}"
        verdict = "met" if self.met else "MISSED"
        remark = f"  ({self.remark})" if self.remark else ""
        return f"{self.what:<58} {bound:>16} {self.measured:>10.4g} {self.unit:<6} {_busy()} {verdict:<6}{remark}"


def judge(title: str, *goals: Goal) -> None:
    """Print a line for each goal, and fail where one is missed."""
    lines = [f"\n{title}", *(f"  {goal}" for goal in goals)]
    sys.stdout.write("\n".join(lines) + "\n")
    missed = [goal.what for goal in goals if not goal.met]
    assert not missed, f"missed: {', '.join(missed)}"


def _busy() -> str:
    return f"load {os.getloadavg()[0]:4.1f} on {os.cpu_count()} cores"


def median(values: Sequence[float]) -> float:
    """The one in the middle."""
    return statistics.median(values)


def spread(values: Sequence[float], show: Callable[[float], str] = "{:.3g}".format) -> str:
    """Every value, in the order of the rounds."""
    return ", ".join(show(value) for value in values)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Memory that a process holds now (VmRSS)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024
