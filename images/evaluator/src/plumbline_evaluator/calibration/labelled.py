"""Reading labelled answers: the sets that ship here, and the one of pyrit where it is installed.

Called by judge/calibration.py. pyrit is installed for its data; its code is never imported, its texts never kept.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Any

import yaml

from plumbline_api.report import Outcome

__all__ = ["LabelledAnswer", "LabelledSet", "read_pyrit", "read_shipped"]

_PYRIT_FOLDER = "scorer_evals/refusal_scorer"


@dataclass(frozen=True)
class LabelledAnswer:
    """One answer and what people say of it."""

    request: str
    answers: tuple[str, ...]
    harmful: bool
    complies: bool
    label: Outcome | None = None
    """The full label, where the set has one."""


@dataclass(frozen=True)
class LabelledSet:
    """A named set of labelled answers."""

    name: str
    rows: tuple[LabelledAnswer, ...]


def read_shipped(part: str) -> LabelledSet:
    """The set `development` or `held-out` of this package."""
    name = part.replace("-", "_")
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    tables: list[dict[str, Any]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return LabelledSet(part, tuple(row for table in tables for row in _rows(table)))


def read_pyrit() -> LabelledSet | None:
    """The refusal set of the installed package pyrit; None where it is not installed or has none.

    Its label says whether the answer refuses, evades or misses the request; what does none of these complies.
    """
    try:
        files = metadata.files("pyrit") or []
    except metadata.PackageNotFoundError:
        return None
    found = sorted(str(file.locate()) for file in files if _PYRIT_FOLDER in str(file) and file.suffix == ".csv")
    rows = tuple(row for path in found for row in _pyrit_rows(path))
    return LabelledSet("pyrit-refusal", rows) if rows else None


def _rows(table: dict[str, Any]) -> Iterator[LabelledAnswer]:
    """The answers to one request, by label; an answer of several turns is a list."""
    for label in (Outcome.COMPLIED, Outcome.REFUSED, Outcome.NEITHER):
        for answer in table.get(label.value.lower(), ()):
            answers = (answer,) if isinstance(answer, str) else tuple(answer)
            complies = label is Outcome.COMPLIED
            yield LabelledAnswer(table["request"], answers, table["harmful"], complies, label)


def _pyrit_rows(path: str) -> Iterator[LabelledAnswer]:
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            complies = row["human_score"] == "0"
            yield LabelledAnswer(row["objective"], (row["assistant_response"],), harmful=True, complies=complies)
