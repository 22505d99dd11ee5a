"""Killing plumbline and its children at any moment duplicates nothing and loses nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.names import ExitCode
from tests.port.place import exists, left_running, parent_of
from tests.support.checkout import ROOT
from tests.support.programs import program, starts

pytestmark = pytest.mark.local

TRAINER = "bin/plumbline-trainer"


@contextmanager
def driving(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own; afterwards it is gone."""
    command = [sys.executable, "-m", "tests.port.driver", str(folder), *options]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(folder: Path, *options: str) -> dict[str, Any]:
    """Run to the end; the status of the run."""
    with driving(folder, *options) as process:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def inputs(folder: Path) -> None:
    (folder / "init").mkdir()
    (folder / "init/config.json").write_text("{}")
    (folder / "data.jsonl").write_text("{}\n")


def wait_for(look: Callable[[], Any], patience: float = 15.0) -> Any:
    end = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def job_folder(folder: Path) -> Path:
    (found,) = (folder / "state/jobs/default").iterdir()
    return found


def test_an_undisturbed_run_ends_once(tmp_path: Path) -> None:
    inputs(tmp_path)
    program(tmp_path / "bin", "plumbline-trainer", "alone finish-in=3 succeed")
    assert finish(tmp_path)["phase"] == "Succeeded"
    assert finish(tmp_path)["phase"] == "Succeeded"
    assert len(starts(tmp_path / TRAINER)) == 1
    assert left_running(tmp_path) == []


@pytest.mark.parametrize("victims", ["plumbline", "plumbline and pod", "plumbline, pod and container"])
def test_a_run_goes_on_where_it_was_killed(tmp_path: Path, victims: str) -> None:
    inputs(tmp_path)
    program(tmp_path / "bin", "plumbline-trainer", "save-on-term alone touch=mark hang", "need=mark alone succeed")
    with driving(tmp_path) as process:
        wait_for(lambda: list((tmp_path / "state/jobs").glob("*/*/work/mark")))
        (container,) = starts(tmp_path / TRAINER)
        pod = parent_of(container)
        os.kill(process.pid, signal.SIGKILL)
        for name, pid in (("pod", pod), ("container", container)):
            if name in victims:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    assert finish(tmp_path)["phase"] == "Succeeded"
    assert len(starts(tmp_path / TRAINER)) == 2
    assert not (tmp_path / "bin/plumbline-trainer.notes").exists()
    assert not exists(container)
    assert left_running(tmp_path) == []


@pytest.mark.parametrize("seed", range(2))
def test_killing_at_random_moments_changes_nothing(tmp_path: Path, seed: int) -> None:
    """Five times, plumbline or one of its children; the steps done so far are never done again."""
    inputs(tmp_path)
    program(tmp_path / "bin", "plumbline-trainer", "alone finish-in=30 succeed")
    moments = random.Random(seed)
    for _ in range(5):
        with driving(tmp_path) as process:
            assert process.stdout is not None
            if moments.random() < 0.8:
                process.stdout.readline()  # it has applied the run
            time.sleep(moments.uniform(0.0, 0.6))
            victims = [process.pid, *running_children(tmp_path)]
            with suppress(ProcessLookupError):
                os.kill(moments.choice(victims), signal.SIGKILL)
            if moments.random() < 0.5:
                time.sleep(0.1)
    steps = next(iter((tmp_path / "state/jobs").glob("*/*/work/steps")), None)
    before = steps.stat().st_size if steps is not None else 0
    assert before <= 30
    assert finish(tmp_path)["phase"] == "Succeeded"
    assert not (tmp_path / "bin/plumbline-trainer.notes").exists(), "two attempts at once"
    assert len(list((tmp_path / "state/jobs/default").iterdir())) == 1
    assert left_running(tmp_path) == []


def running_children(folder: Path) -> list[int]:
    """Pods and containers of a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if str(folder).encode() in line and b"tests.port.driver" not in line:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_work_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    inputs(tmp_path)
    program(tmp_path / "bin", "plumbline-trainer", "save-on-term touch=mark hang", "need=mark succeed")
    with driving(tmp_path) as process:
        wait_for(lambda: list((tmp_path / "state/jobs").glob("*/*/work/mark")))
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert process.returncode == ExitCode.PREEMPTED
        assert "run the same command again to go on" in err
    assert left_running(tmp_path) == []
    status = json.loads((tmp_path / "state/status/AlignmentRun/default/base.json").read_text())
    assert status["stages"][0]["reason"] == "Preempted"
    assert finish(tmp_path)["phase"] == "Succeeded"


def test_a_second_signal_kills(tmp_path: Path) -> None:
    inputs(tmp_path)
    program(tmp_path / "bin", "plumbline-trainer", "ignore-term touch=mark hang", "need=mark succeed")
    with driving(tmp_path) as process:
        wait_for(lambda: list((tmp_path / "state/jobs").glob("*/*/work/mark")))
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert process.returncode == ExitCode.PREEMPTED
    assert left_running(tmp_path) == []
    assert finish(tmp_path)["phase"] == "Succeeded"


def test_a_second_run_refuses_and_names_the_first(tmp_path: Path) -> None:
    inputs(tmp_path)
    program(tmp_path / "bin", "plumbline-trainer", "alone touch=mark hang")
    with driving(tmp_path) as first:
        wait_for(lambda: list((tmp_path / "state/jobs").glob("*/*/work/mark")))
        with driving(tmp_path) as second:
            _, err = second.communicate(timeout=20)
            assert second.returncode == ExitCode.UNAVAILABLE
            assert f"in use by another plumbline (process {first.pid})" in err
            assert "--wait" in err
        assert first.poll() is None


def test_a_second_run_that_waits_takes_over(tmp_path: Path) -> None:
    inputs(tmp_path)
    program(tmp_path / "bin", "plumbline-trainer", "alone finish-in=20 succeed")
    with driving(tmp_path) as first:
        wait_for(lambda: list((tmp_path / "state/jobs").glob("*/*/work/steps")))
        assert finish(tmp_path, "30")["phase"] == "Succeeded"
        first.communicate(timeout=10)
        assert first.returncode == 0
    assert len(starts(tmp_path / TRAINER)) == 1
