"""The processes that train together: started, stopped and heard as one.

The parent checks the data and forks, so that the rows are there once; from then on it waits. Its children end with it,
whatever ends it. One that fails takes the others along, and its failure is the stage's. Called by `stage`.
"""

import ctypes
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Final

from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # where torch documents it

from plumbline_api.names import ExitCode
from plumbline_trainer.failures import NoMeeting, OutOfMemory, Preempted, StageFailure, explain, failure_for
from plumbline_trainer.stopping import StopSwitch
from plumbline_trainer.world import LOOPBACK, Team, World

__all__ = ["Work", "run_ranks"]

log = logging.getLogger(__name__)

Work = Callable[[World, StopSwitch], object]
"""What a process does, given which one it is and its own switch."""

GRACE: Final = 20.0
"""Seconds that the others have to notice that one is gone, before they are killed."""
LOOK: Final = 0.1
"""Seconds within which a request to stop is passed on."""
LOOPBACK_INTERFACE: Final = "lo0" if sys.platform == "darwin" else "lo"
DIE_WITH_PARENT: Final = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
LOST_PEER: Final = ("gloo", "NCCL", "onnection closed by peer", "onnection reset by peer", "ocket", "TCPStore")
"""What torch's words have in common when another process has gone."""


@dataclass(frozen=True)
class Ended:
    """How the processes of this pod ended, in their order."""

    codes: tuple[int, ...]
    """Exit codes; a signal is negative."""
    first: int
    """The process that ended badly first, by itself if one did."""


def run_ranks(team: Team, work: Work, stop: StopSwitch, folder: Path) -> None:
    """Let every process of this pod do its work to the end.

    Args:
        team: How many, and on which nodes.
        work: What each of them does.
        stop: Of this process; a request is passed on.
        folder: Where a process leaves its failure; exists and has none yet.

    Raises:
        StageFailure: What one of them failed with.
        Preempted: They were told to stop, or a process on another node went away.
    """
    meeting = _open_meeting(team)
    port = team.nodes.port if meeting is None else int(meeting.port)
    context = multiprocessing.get_context("fork")
    ranks = [
        context.Process(target=_live, args=(team.world(local), team, port, work, folder))
        for local in range(team.processes)
    ]
    sys.stdout.flush()
    sys.stderr.flush()
    with stop.deferred():
        try:
            for rank in ranks:
                rank.start()
            ended = _see_to_the_end(ranks, stop)
        finally:
            for rank in ranks:
                if rank.pid is not None:
                    rank.kill()
                    rank.join()
    _judge(ended, stop, folder)


# The parent


def _open_meeting(team: Team) -> TCPStore | None:
    """The place where all processes meet, on node 0; nobody else's machine can reach that of a single node."""
    if team.nodes.rank > 0:
        return None
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK if team.nodes.leader == LOOPBACK else "", team.nodes.port))
        listening.listen()
        port = int(listening.getsockname()[1])
        descriptor = listening.detach()
        return TCPStore(LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=descriptor)


def _see_to_the_end(ranks: Sequence[ForkProcess], stop: StopSwitch) -> Ended:
    """Wait for all; pass a request to stop on, and let nobody wait for long for one who is gone."""
    told, deadline = False, float("inf")
    bad: list[int] = []
    given_up: set[int] = set()
    while running := [number for number, rank in enumerate(ranks) if rank.exitcode is None]:
        wait([ranks[number].sentinel for number in running], timeout=LOOK)
        if stop.requested and not told:
            told = True
            for number in running:
                ranks[number].terminate()
        bad += _ended_badly(ranks, bad)
        if bad and deadline == float("inf"):
            deadline = time.monotonic() + GRACE
        if time.monotonic() > deadline:
            given_up |= {number for number in running if ranks[number].exitcode is None}
            for number in given_up:
                ranks[number].kill()
    bad += _ended_badly(ranks, bad)
    codes = tuple(int(rank.exitcode or 0) for rank in ranks)
    # Who lost another one may be seen to have ended before the one that was lost.
    own = [number for number in bad if codes[number] != ExitCode.PREEMPTED and number not in given_up]
    return Ended(codes, next(iter([*own, *bad]), 0))


def _ended_badly(ranks: Sequence[ForkProcess], known: Sequence[int]) -> list[int]:
    """Those that have ended badly since it was looked last."""
    return [number for number, rank in enumerate(ranks) if rank.exitcode and number not in known]


def _judge(ended: Ended, stop: StopSwitch, folder: Path) -> None:
    """Turn their ends into one: a failure of somebody's own counts before that of who lost a peer by it."""
    if not any(ended.codes):
        return
    told = [found for found in map(_read_failure, sorted(folder.glob("failure-*.json"))) if found is not None]
    if told:
        raise told[0]
    code = ended.codes[ended.first]
    if stop.requested or code == ExitCode.PREEMPTED:
        raise Preempted("" if stop.requested else "a process on another node went away; all start again together")
    if code == -signal.SIGKILL:
        raise OutOfMemory(
            f"training process {ended.first} was killed, most likely because memory ran out; "
            "lower batchSize or maxLength, or raise compute.memory"
        )
    how = signal.Signals(-code).name if code < 0 else f"code {code}"
    raise StageFailure(f"training process {ended.first} ended with {how}; the log has its last words")


def _read_failure(file: Path) -> StageFailure | None:
    told = json.loads(file.read_text(encoding="utf-8"))
    return failure_for(told["reason"], told["message"], tuple(told["advice"]))


# A child


def _live(world: World, team: Team, port: int, work: Work, folder: Path) -> None:
    """A child's life; ends with the code of what became of it."""
    stop = StopSwitch()
    stop.install()
    _die_with_parent()
    os.environ.update(_environment(world, team, port))
    code = int(ExitCode.OK)
    try:
        work(world, stop)
    except Preempted:
        code = int(ExitCode.PREEMPTED)
    except Exception as error:  # noqa: BLE001  # whatever it is, the parent is told
        code = int(ExitCode.PREEMPTED) if stop.requested else _end_of(error, world, team, folder)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # what libraries do at an ordinary exit waits for processes that may be gone


def _end_of(error: Exception, world: World, team: Team, folder: Path) -> int:
    """Tell the parent of a failure of one's own; losing another one is none, as long as all had met before."""
    lost = isinstance(error, RuntimeError) and any(words in str(error) for words in LOST_PEER)
    if lost and distributed.is_initialized():
        log.warning("process %d lost another one", world.rank)
        return int(ExitCode.PREEMPTED)
    file = folder / f"failure-{world.rank}.json"
    if not lost:
        return _tell(error, file)
    where = f"{team.nodes.leader}, port {team.nodes.port}" if team.nodes.count > 1 else "this machine"
    remedy = "check that the pods of all nodes run, and that the network lets them reach each other"
    return _tell(NoMeeting(f"{world.size} processes should have met at {where}, and did not in time; {remedy}"), file)


def _tell(error: Exception, file: Path) -> int:
    failure = error if isinstance(error, StageFailure) else explain(error)
    told = {"reason": failure.reason.value, "message": str(failure), "advice": failure.advice}
    file.with_suffix(".new").write_text(json.dumps(told), encoding="utf-8")
    file.with_suffix(".new").rename(file)
    return failure.exit_code


def _environment(world: World, team: Team, port: int) -> dict[str, str]:
    """What torch reads to find the others; the parent of node 0 keeps the meeting place open."""
    found = {
        "RANK": str(world.rank),
        "LOCAL_RANK": str(world.local_rank),
        "WORLD_SIZE": str(world.size),
        "LOCAL_WORLD_SIZE": str(team.processes),
        "MASTER_ADDR": LOOPBACK if team.nodes.rank == 0 else team.nodes.leader,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    # Elsewhere the name of the host decides, which is a pod's address; here it may be any address of the machine.
    return found | ({"GLOO_SOCKET_IFNAME": LOOPBACK_INTERFACE} if team.nodes.leader == LOOPBACK else {})


def _die_with_parent() -> None:
    """Where the kernel offers it: nobody may go on writing into the work of the attempt that follows."""
    parent = multiprocessing.parent_process()
    if sys.platform == "linux" and parent is not None:
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent.pid:
            os._exit(int(ExitCode.PREEMPTED))
