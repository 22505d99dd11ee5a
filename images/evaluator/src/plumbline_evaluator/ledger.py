"""The ledger of an evaluation: what is finished, so that a killed one goes on where it was.

`results.jsonl` in the work folder has a first line that binds it to one execution, and one line per finished case;
`answers.jsonl` has the answers and never leaves the folder. Both are for the owner's eyes only (mode 0600). Written
and read by runner.py. A case is in the ledger as soon as its line is complete; a torn last line is cut off.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from plumbline_api.report import Outcome
from plumbline_evaluator.errors import BadInput

__all__ = ["Binding", "Entry", "Ledger"]

_RESULTS = "results.jsonl"
_ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class Binding:
    """What the entries are about; another binding means other questions, another subject or another judge."""

    cache_key: str
    cases: str
    model: str
    judge: str


@dataclass(frozen=True)
class Entry:
    """One finished case."""

    case: str
    outcome: Outcome
    attempts: int
    answers: str
    """sha256 of the answers, as hexadecimal digits."""


class Ledger:
    """The open ledger of one execution; use it as a context manager."""

    def __init__(self, folder: Path, binding: Binding) -> None:
        self._folder = folder
        self._binding = binding
        self._files: tuple[int, int] = (-1, -1)
        self.done: Mapping[str, Entry] = {}
        """What an earlier attempt finished, by case."""

    def __enter__(self) -> Self:
        """Read what is there, set aside what belongs to something else, and open for writing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        results = self._folder / _RESULTS
        header = orjson.dumps({"version": 1, **asdict(self._binding)})
        lines = _complete_lines(results)
        if lines and lines[0] != header:
            for name in (_RESULTS, _ANSWERS):
                if (self._folder / name).exists():
                    (self._folder / name).replace(self._folder / f"{name}.stale")
            lines = []
        self.done = {entry.case: entry for entry in _entries(results, lines[1:])}
        self._files = (_open(results), _open(self._folder / _ANSWERS))
        if not lines:
            os.write(self._files[0], header + b"\n")
        return self

    def __exit__(self, *_: object) -> None:
        """Close both files."""
        for file in self._files:
            os.close(file)

    def record(self, case: str, outcome: Outcome, attempts: int, answers: Sequence[str]) -> Entry:
        """Enter a finished case: first its answers, then the line that makes it count."""
        told = orjson.dumps({"case": case, "answers": answers})
        entry = Entry(case, outcome, attempts, hashlib.sha256(told).hexdigest())
        os.write(self._files[1], told + b"\n")
        os.write(self._files[0], orjson.dumps(entry) + b"\n")
        return entry


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _complete_lines(path: Path) -> list[bytes]:
    """The whole lines of the file; what follows the last line end is cut off the file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)
    return content[:whole].splitlines()


def _entries(path: Path, lines: Sequence[bytes]) -> Iterator[Entry]:
    for number, line in enumerate(lines, 2):
        try:
            fields: dict[str, Any] = orjson.loads(line)
            yield Entry(fields["case"], Outcome(fields["outcome"]), fields["attempts"], fields["answers"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"{path}:{number}: not an entry; the disk damaged it: delete the file to start anew"
            ) from error
