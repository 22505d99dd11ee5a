"""A pod of local mode: a small process of its own that starts the containers, watches them and records their end.

Started by `attempts` as `python -m plumbline_operator.local.pod FOLDER LOCK PARENT`; it does the kubelet's part and
leaves retries to `jobs`. Standard library only. If plumbline dies, the kernel sends this process SIGTERM and it ends
its containers with grace; if this process dies, the kernel kills its containers. The lock of the attempt is held by
all of them, so a later plumbline knows when the last one is gone.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from subprocess import DEVNULL, STDOUT, Popen
from types import FrameType

from plumbline_operator.local.durable import write_whole
from plumbline_operator.local.podplan import (
    CANNOT_RECORD,
    PLAN_FILE,
    RESULT_FILE,
    Cause,
    ContainerPlan,
    PodPlan,
    PodResult,
    log_file,
)
from plumbline_operator.local.probe import answers
from plumbline_operator.local.processes import (
    adopt_orphans,
    die_with_parent,
    end_group,
    kernel_kills,
    kill_children,
    memory_of,
    prepare_container,
)

__all__ = ["main"]


@dataclass
class Container:
    """One container that was started."""

    plan: ContainerPlan
    process: Popen[bytes]
    exit_code: int | None = None
    killed: bool = False
    """Whether this pod sent it SIGKILL."""
    told: bool = False
    """Whether this pod sent it SIGTERM."""
    up: bool = False
    """Whether its startup probe has succeeded."""
    failures: int = 0
    next_probe: float = 0.0
    probing: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self.exit_code is None


@dataclass
class Pod:
    """The state of a pod; `run` is its life."""

    folder: Path
    plan: PodPlan
    lock: int
    wake: int
    """Written to when something happened; `run` reads the other end."""
    started: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.monotonic)
    containers: list[Container] = field(default_factory=list)
    cause: Cause | None = None
    decided_by: str = ""
    message: str = ""
    kill_at: float | None = None
    kernel_kills: int = field(default_factory=kernel_kills)

    def run(self, wake: int) -> PodResult:
        """Start everything in order, see it through, and tell how it ended."""
        while not self._over():
            self._start_what_may()
            self._watch()
            self._wait(wake)
            self._reap()
            self._end_what_must()
        kill_children()
        return self._result()

    def stop(self, cause: Cause, container: str = "", message: str = "") -> None:
        """End all containers; the first cause stands."""
        if self.cause is None:
            self.cause, self.decided_by, self.message = cause, container, message
            self.kill_at = time.monotonic() + self.plan.grace

    def _over(self) -> bool:
        running = any(container.running for container in self.containers)
        waiting = self.cause is None and len(self.containers) < len(self.plan.containers)
        return not running and not waiting

    def _start_what_may(self) -> None:
        for plan in self.plan.containers[len(self.containers) :]:
            if self.cause is not None or not all(container.up for container in self._sidecars()):
                return
            self._start(plan)

    def _start(self, plan: ContainerPlan) -> None:
        log = log_file(self.folder, plan.name)
        try:
            with log.open("ab") as out:
                process = subprocess.Popen(
                    plan.argv,
                    env=plan.env,
                    cwd=self.folder,
                    stdin=DEVNULL,
                    stdout=out,
                    stderr=STDOUT,
                    start_new_session=True,
                    pass_fds=(self.lock,),
                    preexec_fn=prepare_container(os.getpid()),
                )
        except OSError as error:
            self.stop(Cause.NOT_STARTED, plan.name, f"{plan.argv[0]}: {error.strerror or error}")
            return
        self.containers.append(Container(plan, process, up=plan.startup is None or not plan.sidecar))

    def _watch(self) -> None:
        now = time.monotonic()
        if self.plan.deadline is not None and now - self.clock >= self.plan.deadline:
            self.stop(Cause.DEADLINE)
        for container in self.containers:
            if container.running:
                self._watch_memory(container)
                self._watch_start(container, now)

    def _watch_memory(self, container: Container) -> None:
        limit = container.plan.memory
        if limit is None or container.killed:
            return
        used = memory_of(container.process.pid)
        if used > limit:
            self._kill(container)
            self.stop(
                Cause.OUT_OF_MEMORY, container.plan.name, f"{used >> 20} MiB in use, the limit is {limit >> 20} MiB"
            )

    def _watch_start(self, container: Container, now: float) -> None:
        probe = container.plan.startup
        if container.up or probe is None or now < container.next_probe:
            return
        if container.probing is not None and container.probing.is_alive():
            return
        if container.failures >= probe.failures:
            tried = f"no answer from {probe.path} after {container.failures} tries"
            self.stop(Cause.PROBE_FAILED, container.plan.name, tried)
            return
        container.next_probe = now + probe.period
        container.probing = threading.Thread(target=_probe, args=(container, self.wake), daemon=True)
        container.probing.start()

    def _reap(self) -> None:
        for container in self.containers:
            if not container.running:
                continue
            code = container.process.poll()
            if code is None:
                continue
            container.exit_code = code if code >= 0 else 128 - code
            end_group(container.process.pid, signal.SIGKILL)
            self._judge(container, code)

    def _judge(self, container: Container, code: int) -> None:
        """Whether the end of one container is the end of the pod."""
        if code == -signal.SIGKILL and not container.killed and kernel_kills() > self.kernel_kills:
            self.stop(Cause.OUT_OF_MEMORY, container.plan.name, "the machine ran out of memory")
        elif container.plan.sidecar and self._workers_run():
            self.stop(Cause.EXITED, container.plan.name, "ended before the container it serves")
        elif self.plan.led and (code != 0 or container is self.containers[0]):
            self._end_all(container)

    def _end_all(self, container: Container) -> None:
        """One of several nodes has ended: why it did is why all do, unless it only lost a peer that failed."""
        self.stop(Cause.EXITED, container.plan.name)
        before = next((one for one in self.containers if one.plan.name == self.decided_by), container)
        blameless = (0, os.EX_TEMPFAIL, 128 + signal.SIGTERM)
        if self.cause == Cause.EXITED and before.exit_code == os.EX_TEMPFAIL and not container.killed:
            self.decided_by = self.decided_by if container.exit_code in blameless else container.plan.name

    def _workers_run(self) -> bool:
        workers = [container for container in self.containers if not container.plan.sidecar]
        return not workers or any(container.running for container in workers)

    def _end_what_must(self) -> None:
        """SIGTERM to the workers, then to the sidecars, and SIGKILL to all when the grace is over."""
        running = [container for container in self.containers if container.running]
        workers = [container for container in running if not container.plan.sidecar]
        begun = len(self.containers) == len(self.plan.containers)
        if self.cause is None and (workers or not begun):
            return
        if self.kill_at is None:
            self.kill_at = time.monotonic() + self.plan.grace
        for container in workers or running:
            if not container.told:
                container.told = True
                end_group(container.process.pid, signal.SIGTERM)
        if time.monotonic() >= self.kill_at:
            for container in running:
                self._kill(container)

    def _kill(self, container: Container) -> None:
        container.killed = True
        end_group(container.process.pid, signal.SIGKILL)

    def _wait(self, wake: int) -> None:
        """Sleep until a signal arrives or something is due."""
        if select([wake], [], [], self._seconds_to_next())[0]:
            os.read(wake, 4096)

    def _seconds_to_next(self) -> float:
        now = time.monotonic()
        due = [now + 60.0]
        if self.plan.deadline is not None and self.cause is None:
            due.append(self.clock + self.plan.deadline)
        if self.kill_at is not None:
            due.append(max(self.kill_at, now + 0.02))
        for container in self.containers:
            if container.running and container.plan.memory is not None:
                due.append(now + self.plan.memory_period)
            if container.running and not container.up:
                due.append(now + 0.02)
        return max(0.0, min(due) - now)

    def _sidecars(self) -> list[Container]:
        return [container for container in self.containers if container.plan.sidecar]

    def _result(self) -> PodResult:
        cause = self.cause or Cause.EXITED
        workers = [container for container in self.containers if not container.plan.sidecar]
        done = len(workers) == sum(not plan.sidecar for plan in self.plan.containers)
        if cause == Cause.STOPPED and done and all(container.exit_code == 0 for container in workers):
            cause = Cause.EXITED
        code = self._deciding_code(workers)
        name = self.decided_by or next((worker.plan.name for worker in workers if worker.exit_code), "")
        name = name or self.plan.containers[-1].name
        return PodResult(cause, name, code, self.started, time.time(), self.message)

    def _deciding_code(self, workers: list[Container]) -> int:
        named = [container for container in self.containers if container.plan.name == self.decided_by]
        codes = [container.exit_code or 0 for container in named or workers]
        # A sidecar that ended well before its time did not; the leader of several nodes that did has done its work.
        return next((code for code in codes if code), os.EX_SOFTWARE if self.decided_by and not self.plan.led else 0)


def _probe(container: Container, wake: int) -> None:
    probe = container.plan.startup
    if probe is None:
        return
    if answers(probe):
        container.up = True
    else:
        container.failures += 1
    os.write(wake, b"\0")


def main() -> int:
    """Run the pod whose plan lies in the folder; 0 when its result was recorded."""
    folder, lock, parent = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    wake, send = os.pipe()
    os.set_blocking(send, False)
    signal.set_wakeup_fd(send, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _ignore)
    adopt_orphans()
    pod = Pod(folder, PodPlan.read((folder / PLAN_FILE).read_text(encoding="utf-8")), lock, send)

    def stop(_number: int, _frame: FrameType | None) -> None:
        pod.stop(Cause.STOPPED)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not die_with_parent(signal.SIGTERM, parent):
        pod.stop(Cause.STOPPED)
    result = pod.run(wake)
    try:
        write_whole(folder / RESULT_FILE, result.write())
    except OSError:
        return CANNOT_RECORD
    return 0


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """SIGCHLD needs a handler to write to the wake-up pipe; there is nothing else to do."""


if __name__ == "__main__":
    sys.exit(main())
