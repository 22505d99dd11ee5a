"""Deployments of local mode: a served pod, whose containers are kept up as long as plumbline runs.

Called by `workload`. Each container is an `attempts` pod of its own, restarted with a growing delay when it ends, so
that the guard goes on refusing while the engine comes back.

    manifest.json     the manifest and the owner
    <container>/N/    one start of a container
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_GUARD, PORT_GUARD
from plumbline_api.reasons import Reason
from plumbline_operator.exits import FATAL_EXIT_CODES
from plumbline_operator.local.attempts import Attempt, attempts_in, next_attempt
from plumbline_operator.local.machine import Machine
from plumbline_operator.local.offered import Unplannable
from plumbline_operator.local.ownership import OwnedManifest, read_owned
from plumbline_operator.local.podplan import Cause, PodResult, Probe
from plumbline_operator.local.podspec import Place, containers_of, declared_ports, plan_pod, plan_probe
from plumbline_operator.local.probe import answers
from plumbline_operator.local.settings import LocalSettings
from plumbline_operator.local.verdicts import explain_exit
from plumbline_operator.local.volumes import Texts, make_volumes
from plumbline_operator.observed import DeploymentState, Problem

__all__ = ["Deployment", "read_deployments"]

STARTS_KEPT = 5
STARTS_BEFORE_PROBLEM = 3


@dataclass
class Served:
    """One container of a served pod, as it is now."""

    manifest: dict[str, Any]
    ready: bool = False
    running: Attempt | None = None
    ends: int = 0
    """Ends in a row without having been ready."""
    problem: Problem | None = None

    @property
    def name(self) -> str:
        return str(self.manifest["name"])


class Deployment:
    """One Deployment; `see_through` keeps it up until `stop`."""

    def __init__(self, folder: Path, record: OwnedManifest) -> None:
        self.folder = folder
        self.record = record
        self.done = False
        self._containers = [Served(dict(container)) for container in containers_of(record.pod)]
        self._ports: dict[str, int] = {}
        self._stopping = asyncio.Event()
        self._problem: Problem | None = None

    @property
    def name(self) -> str:
        """Its name, unique in its namespace."""
        return self.folder.name

    @property
    def running(self) -> bool:
        """Whether any of its containers runs."""
        return any(container.running is not None for container in self._containers)

    def state(self) -> DeploymentState:
        """The Deployment as decide() sees it."""
        ready = {container.name: container.ready for container in self._containers}
        problems = [container.problem for container in self._containers if container.problem is not None]
        port = self._ports.get(PORT_GUARD)
        return DeploymentState(
            name=self.name,
            engine_ready=ready.get(CONTAINER_ENGINE, False),
            guard_ready=ready.get(CONTAINER_GUARD, False),
            endpoint=None if port is None else f"http://127.0.0.1:{port}",
            problem=self._problem or (problems[0] if problems else None),
            hopeless=True,
        )

    async def see_through(self, machine: Machine, texts: Texts, changed: Callable[[], None]) -> None:
        """Keep all containers up until `stop`."""
        settings = machine.settings
        await self.wait_until_gone(settings.ending_poll)
        self._stopping.clear()
        self._problem = None
        with machine.ports.keep(declared_ports(self.record.pod)) as ports:
            self._ports = {**ports, PORT_GUARD: settings.guard_port} if settings.guard_port else ports
            await asyncio.gather(
                *(self._keep_up(container, settings, texts, changed) for container in self._containers)
            )

    def stop(self) -> None:
        """Ask all containers to end."""
        self._stopping.set()
        for container in self._containers:
            if container.running is not None:
                container.running.stop()

    def kill(self) -> None:
        """End all containers at once."""
        self._stopping.set()
        for container in self._containers:
            if container.running is not None:
                container.running.kill()

    def declare_stopped(self) -> None:
        """From now on it is down because plumbline has ended it."""
        fact = f"it is not running, because plumbline has ended; `plumbline serve {self.record.owner}` starts it"
        self._problem = Problem(Reason.GUARD_UNAVAILABLE, fact)
        self._ports = {}

    async def wait_until_gone(self, poll: float) -> None:
        """Wait for processes that an earlier plumbline left ending."""
        for container in self._containers:
            for attempt in attempts_in(self.folder / container.name):
                await attempt.settle(poll=poll)

    async def _keep_up(
        self, container: Served, settings: LocalSettings, texts: Texts, changed: Callable[[], None]
    ) -> None:
        while not self._stopping.is_set():
            result = await self._start(container, settings, texts, changed)
            container.ready = False
            if result is None or self._stopping.is_set():
                break
            self._note_end(container, result)
            changed()
            delay = settings.first_delay * 2.0 ** min(container.ends - 1, 30) if container.ends else 0.0
            await _wait(self._stopping, min(settings.longest_delay, delay))
        changed()

    async def _start(
        self, container: Served, settings: LocalSettings, texts: Texts, changed: Callable[[], None]
    ) -> PodResult | None:
        """One life of a container; None where it cannot be started at all."""
        attempt = next_attempt(self.folder / container.name, keep=STARTS_KEPT)
        pod = self.record.pod
        try:
            work = self.folder / "work"
            volumes = make_volumes(pod, work=work, attempt=attempt.folder, texts=texts)
            place = Place(attempt.folder, volumes, self._ports, settings.environment)
            plan = plan_pod(pod, place, deadline=None, memory_period=settings.memory_period, only=container.name)
            probe = _readiness(container.manifest, pod, self._ports)
        except Unplannable as error:
            container.problem = error.problem
            return None
        container.running = attempt
        life = asyncio.ensure_future(attempt.run(plan, settings.environment))
        watch = asyncio.ensure_future(self._watch(container, probe, changed))
        try:
            return await life
        finally:
            container.running = None
            watch.cancel()

    async def _watch(self, container: Served, probe: Probe | None, changed: Callable[[], None]) -> None:
        """Follow the readiness of a container: up with one answer, down with `failures` silences in a row."""
        silences, slow = 0, 0.0
        while probe is not None:
            up = await asyncio.to_thread(answers, probe)
            silences = 0 if up else silences + 1
            ready = up or (container.ready and silences < probe.failures)
            if ready != container.ready:
                container.ready = ready
                changed()
            if ready:
                container.ends, container.problem = 0, None
            slow = probe.period if ready else min(probe.period, 0.1)
            await asyncio.sleep(slow)

    def _note_end(self, container: Served, result: PodResult) -> None:
        container.ends += 1
        hopeless = result.cause == Cause.NOT_STARTED or result.exit_code in FATAL_EXIT_CODES
        if hopeless or container.ends >= STARTS_BEFORE_PROBLEM:
            attempt = attempts_in(self.folder / container.name)[-1]
            container.problem = explain_exit(result, attempt.folder, starts=container.ends)


def _readiness(container: dict[str, Any], pod: Mapping[str, Any], ports: dict[str, int]) -> Probe | None:
    probe = container.get("readinessProbe")
    return None if probe is None else plan_probe(probe, container, pod, ports)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def read_deployments(folder: Path) -> dict[Path, Deployment]:
    """The Deployments of a namespace's folder."""
    return {path: Deployment(path, record) for path, record in read_owned(folder).items()}
