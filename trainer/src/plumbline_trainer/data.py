"""Data sets: JSONL files in, checked rows out, without torch.

`stage` calls this before anything heavy is imported. Every problem names its lines and never their content, because a
data set may hold harmful prompts. What the tokenizer must know (lengths, the chat template) is left to `template`.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from plumbline_trainer.failures import BadData
from plumbline_trainer.rows import Dialogue, Message, Pair, Place, Problem, RowProblem, parse_dialogue, parse_pair

__all__ = ["DataSet", "Turns", "name_places", "read_dialogues", "read_held_out", "read_pairs", "refuse_leaks"]

Row = TypeVar("Row", Dialogue, Pair)
Turns = tuple[str, ...]
PLACES_SHOWN = 5
REFUSAL_OPENINGS = (
    "i can't", "i cannot", "i can not", "i won't", "i will not", "i'm sorry", "i am sorry", "sorry,", "i'm unable",
    "i am unable", "i'm not able", "i am not able", "i must decline", "no, i can't", "unfortunately, i can",
)  # fmt: skip
"""How refusals begin; only used to see whether all pairs point the same way, never to judge a model."""


@dataclass(frozen=True)
class DataSet(Generic[Row]):
    """Rows with their places, and how many were exact copies of an earlier one (they are kept)."""

    rows: tuple[Row, ...]
    places: tuple[Place, ...]
    duplicates: int


def read_dialogues(folder: Path) -> DataSet[Dialogue]:
    """The rows for supervised fine-tuning; raises BadData naming every line that cannot be used."""
    return _read(folder, parse_dialogue)


def read_pairs(folder: Path) -> DataSet[Pair]:
    """The rows for preference training; raises BadData, also where all pairs point the same way."""
    data = _read(folder, parse_pair)
    _refuse_one_sided(data.rows)
    return data


def read_held_out(folder: Path) -> frozenset[Turns]:
    """The user turns of the prompts that no training row may contain: {prompt} as text or messages, one per line."""
    found: set[Turns] = set()
    for place, row in _objects(folder):
        prompt = row.get("prompt")
        texts = [prompt] if isinstance(prompt, str) else [part.get("content") for part in prompt or [] if _user(part)]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise BadData(f'held-out prompts {place}: no "prompt"; write {{"prompt": "..."}} on each line')
        found.add(tuple(_normalise(str(text)) for text in texts))
    return frozenset(found)


def refuse_leaks(data: DataSet[Dialogue] | DataSet[Pair], held_out: frozenset[Turns]) -> None:
    """Refuse rows whose prompt holds an evaluation's: what was trained on proves nothing when it is tested."""
    rows: Sequence[Dialogue | Pair] = data.rows
    placed = zip(data.places, rows, strict=True)
    leaks = [place for place, row in placed if not held_out.isdisjoint(_runs_of_turns(row.prompt))]
    if leaks:
        raise BadData(
            f"data set {name_places(leaks)}: prompts of the held-out evaluation set; "
            "remove the rows, or the result of the evaluation means nothing"
        )


def _runs_of_turns(prompt: Sequence[Message]) -> Iterator[Turns]:
    """Every run of successive user turns: a single-turn prompt leaks wherever it stands, a conversation as a whole."""
    turns = tuple(_normalise(message.content) for message in prompt if message.role == "user")
    for start in range(len(turns)):
        for end in range(start + 1, len(turns) + 1):
            yield turns[start:end]


def name_places(places: Sequence[Place]) -> str:
    """The first few places, and how many there are."""
    shown = ", ".join(str(place) for place in places[:PLACES_SHOWN])
    more = len(places) - PLACES_SHOWN
    return f"{shown} and {more} more rows" if more > 0 else shown


def _read(folder: Path, parse: Callable[[dict[str, Any]], Row]) -> DataSet[Row]:
    problems: dict[Problem, list[Place]] = {}
    rows: list[Row] = []
    places: list[Place] = []
    for place, row in _lines(folder):
        try:
            rows.append(parse(_object(row)))
            places.append(place)
        except RowProblem as error:
            problems.setdefault(error.problem, []).append(place)
    if problems:
        told = (f"{name_places(found)}: {problem}" for problem, found in problems.items())
        raise BadData("data set " + " | ".join(told))
    if not rows:
        raise BadData("data set: no rows; give at least one JSON object, one per line")
    return DataSet(tuple(rows), tuple(places), duplicates=len(rows) - len(set(rows)))


def _objects(folder: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    for place, line in _lines(folder):
        try:
            yield place, _object(line)
        except RowProblem as error:
            raise BadData(f"held-out prompts {place}: {error}") from error


def _lines(folder: Path) -> Iterator[tuple[Place, bytes]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    other = [path.name for path in files if path.suffix != ".jsonl"]
    if not files or other:
        found = f"{other[0]} is not a .jsonl file" if other else "no file"
        raise BadData(f"data set: {found}; give JSONL, one JSON object per line")
    for path in files:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield Place(path.name, number), line


def _object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise RowProblem(Problem.NOT_JSON) from error
    if not isinstance(row, dict):
        raise RowProblem(Problem.NOT_OBJECT)
    return row


def _refuse_one_sided(pairs: Iterable[Pair]) -> None:
    """Refuse pairs from which a model can only learn one constant behaviour.

    One-sided means: a single chosen answer, a single rejected answer, or refusals on one side of every pair and on
    the other side of none.
    """
    chosen = Counter(pair.chosen.strip() for pair in pairs)
    rejected = Counter(pair.rejected.strip() for pair in pairs)
    fact = None
    if len(chosen) < 2:
        fact = "every row has the same chosen answer"
    elif len(rejected) < 2:
        fact = "every row has the same rejected answer"
    else:
        good, bad = {_refuses(text) for text in chosen}, {_refuses(text) for text in rejected}
        if good == {True} and bad == {False}:
            fact = "every chosen answer is a refusal and no rejected one is"
        elif good == {False} and bad == {True}:
            fact = "every rejected answer is a refusal and no chosen one is"
    if fact is not None:
        raise BadData(
            f"data set: one-sided: {fact}, so the model can only learn to answer always the same way; "
            "add pairs where the other behaviour is the good one"
        )


def _refuses(text: str) -> bool:
    return text.strip().lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").startswith(REFUSAL_OPENINGS)


def _user(part: object) -> bool:
    return isinstance(part, dict) and part.get("role") == "user"


def _normalise(text: str) -> str:
    """The form in which prompts are compared: NFKC, case folded, runs of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
