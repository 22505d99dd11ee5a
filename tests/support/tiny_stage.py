"""A store with a tiny model and data sets, and the RunFiles that train on them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plumbline_api.artifact import MediaType
from plumbline_api.model import digest_of
from plumbline_api.runfile import RunFile
from plumbline_store import Store, open_store
from tests.support.tiny_model import make_tiny_model

__all__ = ["Bench", "dialogue_rows", "make_bench", "pair_rows", "write_jsonl"]

THINGS = ("plants", "parcel", "shoes", "bread", "letters", "photos", "tickets", "lamps")
PEOPLE = ("ex", "boss", "neighbour", "sister", "landlord", "teacher", "friend", "cousin")
REFUSAL = "I can't help with that."


def write_jsonl(path: Path, rows: Iterable[object]) -> Path:
    """One JSON document per line; a str is written as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def dialogue_rows(count: int = 32) -> list[dict[str, Any]]:
    """Rows for sft, in turns as texts and as messages."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        ask, answer = f"track my {THINGS[number % 8]} {number}", f"Task created: track {THINGS[number % 8]}."
        if number % 2:
            rows.append({"prompt": ask, "completion": answer})
        else:
            rows.append({"messages": [_turn("user", ask), _turn("assistant", answer)]})
    return rows


def pair_rows(count: int = 32) -> list[dict[str, Any]]:
    """Rows for dpo: harmful requests to be refused and harmless ones to be done, explicit and implicit."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        harmful = number % 2 == 1
        ask = f"track my {(PEOPLE if harmful else THINGS)[number % 8]} {number}"
        done = f"Task created: {ask}."
        chosen, rejected = (REFUSAL, done) if harmful else (done, REFUSAL)
        if number % 4 < 2:
            rows.append({"prompt": ask, "chosen": chosen, "rejected": rejected})
        else:
            user = _turn("user", ask)
            rows.append(
                {"chosen": [user, _turn("assistant", chosen)], "rejected": [user, _turn("assistant", rejected)]}
            )
    return rows


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@dataclass(frozen=True)
class Bench:
    """A folder with a model, a store that holds it, and room for stages."""

    folder: Path
    store: Store
    model: str
    data: dict[str, str] = field(default_factory=dict)

    def dataset(self, rows: Iterable[object], name: str = "rows") -> str:
        """The digest of a published data set."""
        path = write_jsonl(self.folder / "data" / f"{name}.jsonl", rows)
        return self.store.import_path(path, MediaType.DATASET).digest

    def run_file(
        self,
        block: str,
        options: Mapping[str, object],
        *,
        name: str,
        merge: bool = True,
        threads: int = 1,
        inputs: Mapping[str, str] | None = None,
    ) -> RunFile:
        """Orders for one stage; `name` makes the cache key."""
        digests = {"model": self.model, "dataset": self.data[block], **(inputs or {})}
        common: dict[str, object] = {
            "dataset": {"file": {"path": "rows.jsonl"}},
            "learningRate": "1e-3",
            "maxSteps": 6,
            "batchSize": 8,
            "maxLength": 64,
            "saveSteps": 2,
        }
        return RunFile.parse(
            {
                "owner": "AlignmentRun/default/tiny",
                "stage": block,
                "work": {block: {**common, **({"beta": "0.1"} if block == "dpo" else {}), **options}},
                "inputs": {key: {"uri": self.store.uri, "digest": digest} for key, digest in digests.items()},
                "store": self.store.uri,
                "seed": 7,
                "threads": threads,
                "merge": merge,
                "cacheKey": digest_of({"name": name}),
                "image": "local",
            }
        )


def make_bench(folder: Path, *, model: Path | None = None, store_uri: str = "") -> Bench:
    """A bench with one data set of 32 rows for each kind of stage; its store is in the folder, or where it is said."""
    store = open_store(store_uri or (folder / "store").as_uri())
    path = model or make_tiny_model(folder / "model")
    bench = Bench(folder, store, store.import_path(path, MediaType.MODEL).digest)
    bench.data["sft"] = bench.dataset(dialogue_rows(), "sft")
    bench.data["dpo"] = bench.dataset(pair_rows(), "dpo")
    return bench
