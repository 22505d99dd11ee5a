"""One attempt at running a pod: its folder, its lock, its process, its result. Used by `jobs` and `deployments`.

An attempt lives as long as any process holds its lock. The pod process and all containers inherit the lock's
descriptor, so no crash can leave an attempt that runs and looks dead, or the other way round.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from plumbline_operator.local.errors import NoSpace, in_plain_words
from plumbline_operator.local.layout import write_atomically
from plumbline_operator.local.podplan import (
    CANNOT_RECORD,
    LOCK_FILE,
    PLAN_FILE,
    RESULT_FILE,
    Cause,
    PodPlan,
    PodResult,
    log_file,
    progress_file,
    termination_file,
)
from plumbline_operator.local.processes import kill_marked

__all__ = ["Attempt", "attempts_in", "next_attempt"]


class Attempt:
    """An attempt, running or ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: Process | None = None
        self._signalled: signal.Signals | None = None

    @property
    def number(self) -> int:
        """Counts from 1 within its Job or container."""
        return int(self.folder.name)

    def result(self) -> PodResult | None:
        """How it ended, where that is recorded."""
        with in_plain_words(self.folder), suppress(FileNotFoundError):
            return PodResult.read((self.folder / RESULT_FILE).read_text(encoding="utf-8"))
        return None

    def alive(self) -> bool:
        """Whether any process of it is left."""
        try:
            handle = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    async def run(self, plan: PodPlan, environment: Mapping[str, str]) -> PodResult:
        """Run the pod to its end."""
        process = await self._spawn(plan, environment)
        code = await process.wait()
        self._process = None
        if code == CANNOT_RECORD:
            raise NoSpace(self.folder, "the result could not be written", "free space, then run again")
        return await self.settle(poll=0.02)

    async def settle(self, *, poll: float) -> PodResult:
        """Wait until nothing of it lives, whoever started it, and return how it ended."""
        while self.alive():
            if self._process is None and not self._pod_lives():
                kill_marked(self.folder)
            await asyncio.sleep(poll)
        result = self.result()
        if result is None:
            kill_marked(self.folder)
            result = self._lost()
            write_atomically(self.folder / RESULT_FILE, result.write())
        return result

    def stop(self) -> None:
        """Ask it to end: SIGTERM to its containers, and SIGKILL when the pod's grace is over."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once; the kernel kills the containers of a killed pod process."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        self._signalled = number
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _spawn(self, plan: PodPlan, environment: Mapping[str, str]) -> Process:
        lock = self._prepare(plan)
        try:
            with (self.folder / "pod.log").open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "plumbline_operator.local.pod"),
                    *(str(self.folder), str(lock), str(os.getpid())),
                    cwd=self.folder,
                    stdin=DEVNULL,
                    stdout=log,
                    stderr=STDOUT,
                    env=environment,
                    pass_fds=(lock,),
                    start_new_session=True,
                )
        finally:
            os.close(lock)
        if self._signalled is not None:
            self._signal(self._signalled)
        return self._process

    def _prepare(self, plan: PodPlan) -> int:
        """Make the folders and write the plan; returns the lock, held."""
        with in_plain_words(self.folder):
            for container in plan.containers:
                for place in (log_file, termination_file, progress_file):
                    place(self.folder, container.name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_atomically(self.folder / PLAN_FILE, plan.write())
        return lock

    def _pod_lives(self) -> bool:
        """Whether the pod process itself, which alone can end containers with grace, is there."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if str(self.folder).encode() in words and b"plumbline_operator.local.pod" in words:
                        return True
        return False

    def _lost(self) -> PodResult:
        """The result of an attempt whose pod process left none."""
        times = [entry.stat().st_mtime for entry in self.folder.rglob("*") if entry.is_file()]
        started = self.folder.stat().st_mtime
        first, last = min([*times, started]), max([*times, started])
        return PodResult(Cause.LOST, "", 128 + signal.SIGKILL, first, min(last, time.time()))


def attempts_in(folder: Path) -> list[Attempt]:
    """The attempts in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((Attempt(path) for path in folder.iterdir() if path.name.isdigit()), key=lambda made: made.number)


def next_attempt(folder: Path, *, keep: int | None = None) -> Attempt:
    """A new attempt, with its folder; of the earlier ones, `keep` are kept (None: all)."""
    made = attempts_in(folder)
    for old in made[:-keep] if keep else ():
        with in_plain_words(old.folder):
            shutil.rmtree(old.folder)
    path = folder / str(made[-1].number + 1 if made else 1)
    with in_plain_words(path):
        path.mkdir(parents=True, mode=0o700)
    return Attempt(path)
