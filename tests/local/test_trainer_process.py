"""The `plumbline-trainer` program as the operator runs it: killed, stopped, resumed, and quick with nothing to do."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from plumbline_api.model import digest_of
from plumbline_api.names import ENV_TERMINATION_LOG, ExitCode
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_api.runfile import RunFile
from plumbline_store import Silence
from plumbline_trainer.checkpoints import SEAL
from plumbline_trainer.progress import ProgressLog
from plumbline_trainer.stage import Stage, run_stage
from plumbline_trainer.stopping import StopSwitch
from tests.support.tiny_stage import Bench, dialogue_rows, make_bench
from tests.support.trainer_program import PATIENCE, Program

pytestmark = [pytest.mark.local, pytest.mark.filterwarnings("ignore")]  # the libraries warn about each other


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


def now() -> datetime:
    return datetime.now(UTC)


def long_stage(bench: Bench, name: str) -> RunFile:
    """Enough steps that a signal finds the program at work."""
    options = {"lora": {"r": 4}, "maxSteps": 60, "saveSteps": 3, "batchSize": 4}
    return bench.run_file("dpo", options, name=name)


def truncate_newest(checkpoints: Path) -> str:
    """Cut the weights of the newest sealed checkpoint short; its name."""
    sealed = [path for path in checkpoints.iterdir() if (path / SEAL).exists()]
    newest = max(sealed, key=lambda path: int(path.name.partition("-")[2]))
    weights = newest / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return newest.name


def test_killed_stopped_and_damaged_a_stage_ends_as_an_undisturbed_one(bench: Bench, tmp_path: Path) -> None:
    orders = long_stage(bench, "undisturbed")
    undisturbed = run_stage(Stage(orders, tmp_path / "work", ProgressLog(Silence(), now), StopSwitch(), now))
    program = Program(tmp_path / "disturbed", long_stage(bench, "disturbed"))
    moment = Random(5)

    first = program.stop_when(
        lambda: (program.checkpoints / "checkpoint-6").exists(), signal.SIGKILL, delay=moment.uniform(0, 0.1)
    )
    assert first == -signal.SIGKILL
    assert not (tmp_path / "disturbed" / "summary").exists()

    second = program.stop_when(
        lambda: any((program.checkpoints / f"checkpoint-{step}").exists() for step in range(12, 60, 3)), signal.SIGTERM
    )
    assert second == ExitCode.PREEMPTED
    assert (program.summary.result, program.summary.reason) == (Result.PREEMPTED, Reason.PREEMPTED)

    damaged = truncate_newest(program.checkpoints)
    said = program.run()
    assert f"{damaged} is skipped: adapter_model.safetensors is truncated" in said
    assert "resuming at step" in said
    assert program.summary.result is Result.SUCCEEDED
    assert program.summary.output == undisturbed.output
    assert not program.checkpoints.exists()


def test_a_stop_while_data_are_checked_is_a_preemption(bench: Bench, tmp_path: Path) -> None:
    many = bench.dataset(dialogue_rows(20_000), "many")
    program = Program(tmp_path, bench.run_file("sft", {}, name="many", inputs={"dataset": many}))
    assert program.stop_when(program.phase("checking data"), signal.SIGTERM) == ExitCode.PREEMPTED
    assert program.summary.result is Result.PREEMPTED
    assert not program.phase("starting torch")()


ALONE = """
import sys, time
began = time.monotonic()
from plumbline_trainer.main import main
sys.argv[0] = "plumbline-trainer"
try:
    main()
finally:
    print(round(time.monotonic() - began, 3), sorted({"torch", "transformers", "trl", "numpy"} & set(sys.modules)))
"""


def test_a_cache_hit_takes_no_torch_and_no_time(bench: Bench, tmp_path: Path) -> None:
    from plumbline_api.artifact import MediaType

    orders = bench.run_file("sft", {}, name="hit")
    model = bench.store.publish_bytes({"model.safetensors": b"weights"}, MediaType.MODEL)
    bench.store.record(orders.cache_key, Summary(result=Result.SUCCEEDED, cache_key=digest_of({}), output=model))
    (tmp_path / "run.json").write_text(orders.pretty())
    done = subprocess.run(
        [sys.executable, "-c", ALONE, "run", "--file", str(tmp_path / "run.json"), "--work", str(tmp_path / "work")],
        env=os.environ | {ENV_TERMINATION_LOG: str(tmp_path / "summary")},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    seconds, _, heavy = done.stdout.strip().partition(" ")
    assert json.loads(heavy.replace("'", '"')) == []
    assert float(seconds) < 2
    found = Summary.read((tmp_path / "summary").read_bytes())
    assert (found.cached, found.output) == (True, model)
