"""Several processes that train together: the model of one, its bytes every time, and their ends as one end."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason
from plumbline_api.report import Result
from plumbline_api.runfile import RunFile
from plumbline_trainer.checkpoints import SEAL
from tests.local.test_trainer import scores
from tests.support.tiny_stage import Bench, make_bench
from tests.support.trainer_program import PATIENCE, Program

pytestmark = [pytest.mark.local, pytest.mark.filterwarnings("ignore")]  # the libraries warn about each other

LORA = {"lora": {"r": 4}, "loss": ["sigmoid", "sft"]}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


def model(bench: Bench, program: Program, into: Path) -> Any:
    """The scores that the program's model gives."""
    assert program.summary.output is not None
    return scores(bench.store.checkout(program.summary.output.digest, into))


def long_stage(bench: Bench, name: str) -> RunFile:
    """Enough steps that a signal finds the processes at work."""
    return bench.run_file("dpo", {**LORA, "maxSteps": 150, "saveSteps": 5}, name=name, threads=2)


def has_checkpoint(program: Program) -> bool:
    return any(program.checkpoints.glob(f"checkpoint-*/{SEAL}"))


def children(program: "subprocess.Popen[str]") -> list[int]:
    found = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text()
    return [int(number) for number in found.split()]


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def eventually(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(("block", "options"), [("sft", {}), ("dpo", LORA)])
def test_two_processes_train_the_model_that_one_does(
    bench: Bench, tmp_path: Path, block: str, options: dict[str, object]
) -> None:
    import torch

    alone = Program(tmp_path / "alone", bench.run_file(block, options, name=f"{block}-alone"))
    together = Program(tmp_path / "together", bench.run_file(block, options, name=f"{block}-together", threads=2))
    assert "1 process(es) with 1 thread(s)" in alone.run()
    assert "2 process(es) with 1 thread(s)" in together.run()
    expected = model(bench, alone, tmp_path / "a")
    torch.testing.assert_close(model(bench, together, tmp_path / "t"), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(expected, scores(bench.folder / "model"), atol=1e-3)


def test_stopped_and_resumed_they_leave_the_bytes_of_an_undisturbed_stage(bench: Bench, tmp_path: Path) -> None:
    undisturbed = Program(tmp_path / "undisturbed", long_stage(bench, "together-undisturbed"))
    undisturbed.run()
    program = Program(tmp_path / "disturbed", long_stage(bench, "together-disturbed"))
    code = program.stop_when(lambda: has_checkpoint(program), signal.SIGTERM)
    assert code == ExitCode.PREEMPTED
    assert program.summary.result is Result.PREEMPTED
    assert "resuming at step" in program.run()
    assert program.summary.output == undisturbed.summary.output


def test_one_that_is_killed_ends_them_all_and_is_named(bench: Bench, tmp_path: Path) -> None:
    program = Program(tmp_path, long_stage(bench, "one-killed"))
    with program.start() as parent:
        eventually(lambda: has_checkpoint(program) or parent.poll() is not None)
        ranks = children(parent)
        os.kill(ranks[1], signal.SIGKILL)
        _, said = parent.communicate(timeout=PATIENCE)
    assert len(ranks) == 2
    assert parent.returncode == ExitCode.INTERNAL, said
    assert program.summary.reason is Reason.OUT_OF_MEMORY
    assert "training process 1 was killed" in program.summary.message
    assert not any(map(alive, ranks))


def test_nobody_outlives_the_parent(bench: Bench, tmp_path: Path) -> None:
    program = Program(tmp_path, long_stage(bench, "parent-killed"))
    with program.start() as parent:
        eventually(lambda: has_checkpoint(program) or parent.poll() is not None)
        ranks = children(parent)
        parent.kill()
        parent.communicate(timeout=PATIENCE)
    assert len(ranks) == 2
    eventually(lambda: not any(map(alive, ranks)))


def test_a_failure_of_theirs_is_the_failure_of_the_stage(bench: Bench, tmp_path: Path) -> None:
    orders = bench.run_file("sft", {"learningRate": "999999999", "maxSteps": 20}, name="unstable", threads=2)
    program = Program(tmp_path, orders)
    with program.start() as parent:
        _, said = parent.communicate(timeout=PATIENCE)
    assert parent.returncode == ExitCode.BAD_SPEC, said
    assert "training became unstable" in program.summary.message
    assert "lower learningRate" in program.summary.message


# Nodes, here two programs on the loopback interface


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_nodes(programs: list[Program]) -> "list[subprocess.Popen[str]]":
    place = {"PET_NNODES": "2", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(free_port())}
    return [program.start(**place, PET_NODE_RANK=str(rank)) for rank, program in enumerate(programs)]


def test_two_nodes_train_the_model_that_one_does_and_the_first_publishes_it(bench: Bench, tmp_path: Path) -> None:
    import torch

    orders = bench.run_file("dpo", LORA, name="nodes")
    programs = [Program(tmp_path / name, orders) for name in ("first", "second")]
    for running in start_nodes(programs):
        with running:
            _, said = running.communicate(timeout=PATIENCE)
        assert running.returncode == ExitCode.OK, said
    alone = Program(tmp_path / "alone", bench.run_file("dpo", LORA, name="one-node"))
    alone.run()
    found = model(bench, programs[0], tmp_path / "n")
    torch.testing.assert_close(found, model(bench, alone, tmp_path / "a"), atol=1e-5, rtol=1e-5)
    assert programs[1].summary.result is Result.SUCCEEDED
    assert programs[1].summary.output is None


def test_a_node_that_is_lost_sends_the_others_back_and_all_resume_together(bench: Bench, tmp_path: Path) -> None:
    orders = bench.run_file("dpo", {**LORA, "maxSteps": 400, "saveSteps": 10}, name="lost-node")
    programs = [Program(tmp_path / name, orders) for name in ("first", "second")]
    first, second = start_nodes(programs)
    with first, second:
        eventually(lambda: all(map(has_checkpoint, programs)) or first.poll() is not None)
        second.kill()
        _, said = first.communicate(timeout=PATIENCE)
        second.communicate(timeout=PATIENCE)
    assert first.returncode == ExitCode.PREEMPTED, said
    assert "another node went away" in programs[0].summary.message
    for running in start_nodes(programs):
        with running:
            _, said = running.communicate(timeout=PATIENCE)
        assert running.returncode == ExitCode.OK, said
        assert "resuming at step" in said
    assert programs[0].summary.output is not None


def test_processes_that_never_met_are_a_failure_that_counts(tmp_path: Path) -> None:
    from plumbline_trainer.failures import NoMeeting
    from plumbline_trainer.ranks import run_ranks
    from plumbline_trainer.stopping import StopSwitch
    from plumbline_trainer.world import Nodes, Team

    def meet(*_: object) -> None:
        raise RuntimeError("The client socket has timed out after 1800000ms while trying to connect to (run-0, 29500)")

    team = Team(1, 1, Nodes(2, 1, "run-0", 29500))
    with pytest.raises(NoMeeting, match="2 processes should have met at run-0, port 29500") as caught:
        run_ranks(team, meet, StopSwitch(), tmp_path)
    assert caught.value.exit_code == ExitCode.UNAVAILABLE


def test_one_that_was_killed_is_named_also_where_those_that_lost_it_are_seen_first(tmp_path: Path) -> None:
    from plumbline_trainer.failures import OutOfMemory, Preempted
    from plumbline_trainer.ranks import run_ranks
    from plumbline_trainer.stopping import StopSwitch
    from plumbline_trainer.world import Nodes, Team, World

    def end(world: World, _: StopSwitch) -> None:
        if world.rank == 0:
            raise Preempted("it lost another one")
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(OutOfMemory, match="training process 1 was killed"):
        run_ranks(Team(2, 1, Nodes()), end, StopSwitch(), tmp_path)
