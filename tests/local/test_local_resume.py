"""The promise of local mode, with real training: killed five times, a run ends exactly as an undisturbed one."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.progress import Progress
from tests.port.place import left_running
from tests.support import build
from tests.support.tiny_model import make_tiny_model
from tests.support.tiny_stage import dialogue_rows, write_jsonl

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

STEPS = 200
KILLS = 5
BETWEEN = 28
"""Steps from one kill to the next, at most. What remains after the last is time for it to come, on busy cores too."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest that trains a tiny model on one thread, with its files."""
    made = tmp_path_factory.mktemp("resume")
    make_tiny_model(made / "init")
    write_jsonl(made / "data.jsonl", dialogue_rows(32))
    options: dict[str, object] = {"maxSteps": STEPS, "batchSize": 2, "saveSteps": 5}
    run = build.run(options=options, compute={"cpu": "1"}, reuse="Never")
    (made / "run.yaml").write_text(json.dumps(run.dump()))
    return made


def start(folder: Path, state: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("plumbline")), "run", "-f", "run.yaml", "--state", state]
    with (folder / f"{state}.out").open("ab") as out:
        return subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)


def finish(folder: Path, state: str) -> dict[str, Any]:
    """Run to the end; the status."""
    assert start(folder, state).wait() == 0, (folder / f"{state}.out").read_text()
    status: dict[str, Any] = json.loads((folder / state / "status/AlignmentRun/default/base.json").read_text())
    return status


def test_a_run_killed_five_times_gives_the_same_model(folder: Path) -> None:
    expected = finish(folder, "undisturbed")
    moments = random.Random(7)
    for number in range(KILLS):
        process = start(folder, "killed")
        wanted = moments.randint(1 + BETWEEN * number, BETWEEN * (number + 1))
        reached = wait_for_step(folder / "killed", wanted, attempt=number + 1)
        victims = [process.pid, *children(folder / "killed")] if number % 2 else [process.pid]
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        process.wait()
        assert reached < STEPS
    found = finish(folder, "killed")
    assert found["phase"] == expected["phase"] == "Succeeded"
    assert found["output"] == expected["output"]
    attempts = list((folder / "killed/jobs").glob("*/*/attempts/*"))
    assert len(attempts) == KILLS + 1
    assert first_step(folder / "killed", KILLS + 1) > STEPS // 2, "the last attempt began at the beginning"
    assert left_running(folder) == []


def wait_for_step(state: Path, wanted: int, *, attempt: int, patience: float = 120.0) -> int:
    """The first step at or after the wanted one that this attempt tells of."""
    end = time.monotonic() + patience
    while (step := newest_step(state, attempt)) < wanted:
        assert time.monotonic() < end, f"step {step}, wanted {wanted}"
        time.sleep(0.02)
    return step


def newest_step(state: Path, attempt: int) -> int:
    return (steps(state, attempt) or [0])[-1]


def first_step(state: Path, attempt: int) -> int:
    """The first step that an attempt told of after starting."""
    return next(step for step in steps(state, attempt) if step > 0)


def steps(state: Path, attempt: int) -> list[int]:
    logs = list(state.glob(f"jobs/*/*/attempts/{attempt}/progress/worker.jsonl"))
    lines = logs[0].read_text().split("\n")[:-1] if logs else []
    return [int(Progress.read(line).number("step") or 0) for line in lines]


def children(state: Path) -> list[int]:
    """Pods and containers of a state directory."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if str(state).encode() in line and entry.name != str(os.getpid()):
                found.append(int(entry.name))
    return found
