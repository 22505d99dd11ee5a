"""The fault table: one row per fault, counted by the tests themselves."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["FAULTS", "Fault", "table"]

FAULTS = "faults"
"""What rows are told as by the process in which a test ran."""

HEADINGS = ("fault", "where", "struck", "objects", "duplicates", "lost", "verdict")


@dataclass
class Fault:
    """One fault, and what came of it."""

    name: str
    where: str
    struck: int = 0
    """How often it was injected."""
    objects: int = 0
    """Objects of ours that lived through it."""
    duplicates: int = 0
    """Jobs that were made once too often."""
    lost: int = 0
    """Facts of a status that never came, or were taken back."""
    survived: bool = True

    def count(self, *, struck: int = 0, objects: int = 0, duplicates: int = 0, lost: int = 0) -> None:
        """Add what was counted."""
        self.struck += struck
        self.objects += objects
        self.duplicates += duplicates
        self.lost += lost

    def check(self) -> None:
        """Fail where anything was doubled or lost, or where nothing was injected at all."""
        assert self.struck, f"{self.name} was never injected"
        assert (self.duplicates, self.lost) == (0, 0), f"{self.name}: {self.duplicates} doubled, {self.lost} lost"

    @property
    def cells(self) -> tuple[str, ...]:
        """The row."""
        numbers = (self.struck, self.objects, self.duplicates, self.lost)
        return self.name, self.where, *(f"{number:,}" for number in numbers), "survived" if self.survived else "FAILED"


def table(faults: Iterable[Fault]) -> str:
    """Markdown; rows of equal fault and place are one."""
    rows = [HEADINGS, *(fault.cells for fault in merged(faults))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]) + "\n"


def merged(faults: Iterable[Fault]) -> list[Fault]:
    """One row for each fault and place, in the order of their first."""
    found: dict[tuple[str, str], Fault] = {}
    for one in faults:
        row = found.setdefault((one.name, one.where), Fault(one.name, one.where))
        row.count(struck=one.struck, objects=one.objects, duplicates=one.duplicates, lost=one.lost)
        row.survived = row.survived and one.survived
    return list(found.values())
