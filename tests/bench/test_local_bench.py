"""What `plumbline run` costs around a stage that does nothing: from the command's start to its end."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import build
from tests.support.programs import program

pytestmark = pytest.mark.bench

GOAL_SECONDS = 2.0
ROUNDS = 5


def test_a_run_of_one_empty_stage_takes_at_most_two_seconds_imports_included(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path / "bin", "plumbline-trainer", "succeed")
    (tmp_path / "init").mkdir()
    (tmp_path / "init/config.json").write_text("{}")
    (tmp_path / "data.jsonl").write_text("{}\n")
    (tmp_path / "run.yaml").write_text(json.dumps(build.run().dump()))
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    rounds = [run_once(tmp_path, f"state-{number}") for number in range(ROUNDS)]
    wall, processor = (sorted(column)[ROUNDS // 2] for column in zip(*rounds, strict=True))
    quiet = "busy" if busy else "quiet"
    with capsys.disabled():
        line = f"plumbline run, one empty stage, median of {ROUNDS}: {wall:.2f} s, {processor:.2f} s of processor time"
        sys.stdout.write(f"\n{line} ({quiet} machine)\n")
    # On a busy machine the clock tells of the others; the processor time tells of us.
    assert (processor if busy else wall) <= GOAL_SECONDS


def run_once(folder: Path, state: str) -> tuple[float, float]:
    """Seconds by the clock, and seconds of processor time of the run and all its children."""
    command = [str(Path(sys.executable).with_name("plumbline")), "run", "-f", "run.yaml", "--state", state]
    environment = {**os.environ, "PLUMBLINE_LOCAL_BIN": str(folder / "bin")}
    before, began = spent(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    taken = time.perf_counter() - began
    assert done.returncode == 0, done.stdout + done.stderr
    return taken, spent() - before


def spent() -> float:
    """Processor time of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
