"""The examples are tests: their manifests are in order, and the whole loop, made small, survives being killed.

The full-size demo is `make demo`; here the same manifests and the same data run with few steps and few cases.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from plumbline_operator.cli.manifests import load_manifests
from plumbline_operator.main import run_command
from tests.support.checkout import ROOT

pytestmark = [pytest.mark.local, pytest.mark.timeout(900)]

EXAMPLES = sorted(suite.parent for suite in (ROOT / "examples").rglob("*-suite.yaml"))
KILLS = 5
SMALLER = {
    r"maxSteps: \d+": "maxSteps: 24",
    r"batchSize: \d+": "batchSize: 16",
    r"saveSteps: \d+": "saveSteps: 6",
    r"minPerCategory: \d+": "minPerCategory: 5",
}


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_the_manifests_of_an_example_are_in_order(folder: Path) -> None:
    kinds = {item.object.kind for item in load_manifests([folder])}
    assert {"AlignmentRun", "RedTeamSuite", "EvalGate", "GuardedInference"} <= kinds


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task assistant's example with few steps and cases; its manifests ask for one thread."""
    made = tmp_path_factory.mktemp("task-assistant")
    source = ROOT / "examples/task-assistant"
    subprocess.run([sys.executable, source / "prepare.py", "--out", made], check=True, capture_output=True)
    for manifest in sorted(source.glob("*.yaml")):
        text = manifest.read_text()
        for pattern, smaller in SMALLER.items():
            text = re.sub(pattern, smaller, text)
        (made / manifest.name).write_text(text)
    return made


def start(folder: Path, state: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "plumbline_operator", "run", "-f", str(folder), "--state", str(folder / state)]
    with (folder / f"{state}.out").open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=out)


def status(folder: Path, state: str, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / state / f"status/{kind}/default/{name}.json").read_text())
    return found


def ending(folder: Path, state: str) -> dict[str, Any]:
    """What must not depend on disturbances: digests of both models, the verdict and everything it rests on."""
    gate = status(folder, state, "EvalGate", "task-assistant")
    runs = ("task-assistant-base", "task-assistant")
    return {
        "models": [status(folder, state, "AlignmentRun", name)["output"] for name in runs],
        "verdict": gate["verdict"],
        "rows": gate["rows"],
        "cases": [item["cases"] for item in gate["evidence"]],
    }


@pytest.fixture(scope="module")
def undisturbed(small: Path) -> dict[str, Any]:
    """How the small loop ends when nobody disturbs it."""
    code = start(small, "undisturbed").wait()
    assert code == 1, (small / "undisturbed.out").read_text()  # so small a training does not pass the gate
    return ending(small, "undisturbed")


def test_the_loop_killed_five_times_ends_as_an_undisturbed_one(small: Path, undisturbed: dict[str, Any]) -> None:
    moments = random.Random(11)
    for _ in range(KILLS):
        process = start(small, "killed")
        time.sleep(moments.uniform(2, 20))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert start(small, "killed").wait() == 1, (small / "killed.out").read_text()
    assert ending(small, "killed") == undisturbed


def test_repeating_the_loop_in_another_state_directory_with_the_same_store_trains_nothing(
    small: Path, undisturbed: dict[str, Any]
) -> None:
    again = small / "again"
    again.mkdir(mode=0o700)
    shutil.copy(small / "undisturbed/version", again / "version")
    shutil.copytree(small / "undisturbed/store", again / "store")
    assert start(small, "again").wait() == 1
    assert ending(small, "again") == undisturbed
    stages = status(small, "again", "AlignmentRun", "task-assistant")["stages"]
    assert [stage["cached"] for stage in stages] == [True]


def test_the_lineage_of_the_aligned_model_reaches_back_to_its_data(
    small: Path, undisturbed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["lineage", "alr", "task-assistant", "--state", str(small / "undisturbed")]) == 0
    tree = capsys.readouterr().out
    assert undisturbed["models"][1] in tree
    assert tree.count("dataset: dataset sha256:") >= 2
    assert "damaged" not in tree


def test_a_model_that_did_not_pass_is_not_served(
    small: Path, undisturbed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["serve", "task-assistant", "--state", str(small / "undisturbed"), "--port", "0"]) == 1
    assert "nothing is served" in capsys.readouterr().err
    assert undisturbed["verdict"] != "Passed"
