"""Builders for the evaluator's tests: a small suite, a RunFile for it, surroundings, and results without a run."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from plumbline_api.redteam import RedTeamSuiteSpec
from plumbline_api.report import CaseResult, Outcome
from plumbline_api.runfile import RunFile
from plumbline_evaluator.execution import Surroundings
from plumbline_store import Silence
from tests.support.target_server import DIGEST

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
KEY = "sha256:" + "2" * 64


def suite(**changes: Any) -> RedTeamSuiteSpec:
    """One category, one attack, a few cases; `changes` in the manifest's words."""
    generation = {"concurrency": 4, "retries": 1, "timeout": "5s"} | changes.pop("generation", {})
    spec = {
        "categories": ["privacy_violations"],
        "attacks": [{"direct": {}}],
        "corpora": [{"builtin": "task-assistant"}],
        "samples": {"minPerCategory": 6},
        "generation": generation,
    }
    return RedTeamSuiteSpec.parse(spec | changes)


def run_file(store: Path, spec: RedTeamSuiteSpec | None = None, **changes: Any) -> RunFile:
    """Orders to judge the model that the fake target serves by default."""
    orders = {
        "version": 1,
        "owner": "EvalGate/default/gate",
        "stage": "evaluate",
        "work": {"redTeam": (spec or suite()).dump()},
        "inputs": {"model": {"uri": store.as_uri(), "digest": DIGEST}},
        "store": store.as_uri(),
        "seed": 7,
        "threads": 1,
        "cacheKey": KEY,
        "reuse": "IfUnchanged",
        "image": "evaluator:test",
    }
    return RunFile.parse(orders | changes)


def surroundings(work: Path, target: str, **changes: Any) -> Surroundings:
    """A work folder, a target, no patience."""
    options: dict[str, Any] = {"progress": Silence(), "wait": 2.0, "now": lambda: NOON, "patience": 0.001}
    return Surroundings(work=work, target=target, **(options | changes))


def results(*rows: tuple[int, bool, Outcome], **labels: str) -> tuple[CaseResult, ...]:
    """`count` results of each row's kind; `labels` over category, attack and split."""
    marks = {"category": "privacy_violations", "attack": "direct", "split": "held_out_phrasings"} | labels
    return tuple(_numbered(marks, rows))


def _numbered(marks: dict[str, str], rows: Iterable[tuple[int, bool, Outcome]]) -> Iterable[CaseResult]:
    name = "-".join(marks.values())
    for place, (count, harmful, outcome) in enumerate(rows):
        for number in range(count):
            identity = f"{name}-{place}-{number}"
            yield CaseResult(id=identity, harmful=harmful, labels=marks, outcome=outcome)
