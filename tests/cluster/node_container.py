"""One container of a pod on a node of processes: its lives, its probes, and its line in the pod's status.

Each life is an attempt of local mode, so signals, memory, logs and what a crash leaves behind are as they are there.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp

from plumbline_api import names
from plumbline_api.model import format_time
from plumbline_operator.local.attempts import Attempt, next_attempt
from plumbline_operator.local.podplan import Cause, PodPlan, PodResult, log_file, termination_file
from plumbline_operator.local.podspec import Place, plan_pod
from tests.cluster.client import Object
from tests.cluster.node_spec import NodeProbe, probe_of, single_container

__all__ = ["Container", "PodPlace"]

_FIRST_DELAY: Final = 0.5
"""Seconds before a container is started again. A kubelet takes ten, which tests need not wait for."""
_MEMORY_PERIOD: Final = 0.2
_MOST_MESSAGE: Final = 4096
_WORDS: Final = {Cause.OUT_OF_MEMORY: "OOMKilled", Cause.NOT_STARTED: "StartError"}


@dataclass(frozen=True)
class PodPlace:
    """What the containers of a pod share."""

    folder: Path
    volumes: Mapping[str, Path]
    ports: Mapping[str, int]
    address: str
    environment: Mapping[str, str]


@dataclass
class Container:
    """One container."""

    manifest: Object
    pod: Object
    policy: str
    """Its restartPolicy, or its pod's."""
    changed: Callable[[], None]
    running: Attempt | None = None
    since: str = ""
    end: Object | None = None
    """The last one, as a status tells it."""
    started: bool = False
    """Whether its startup probe was answered."""
    ready: bool = False
    over: bool = False
    """Whether it will not be started again."""
    restarts: int = 0
    waiting: Object = field(default_factory=lambda: {"reason": "ContainerCreating"})
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has started, or will not."""

    @property
    def name(self) -> str:
        """Unique in the pod."""
        return str(self.manifest["name"])

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well, for good."""
        return self.over and self.end is not None and self.end["exitCode"] == 0

    async def live(self, place: PodPlace) -> None:
        """Start it, and again as its policy says, until `stop`."""
        startup, readiness = (probe_of(self.manifest, kind, self.pod["spec"]) for kind in _PROBES)
        while not self.stopping.is_set():
            attempt = next_attempt(place.folder / "containers" / self.name)
            plan = self._plan(attempt, place)
            life = asyncio.ensure_future(attempt.run(plan, place.environment))
            self.running, self.since = attempt, _now()
            self.changed()
            probes = asyncio.ensure_future(self._watch(place.address, startup, readiness))
            try:
                result = await life
            finally:
                probes.cancel()
            self._note(attempt, result)
            if not self._again(result):
                break
            await self._pause()
        self.over = True
        self.settled.set()
        self.changed()

    def stop(self) -> None:
        """Ask it to end, with the pod's grace; it does not start again."""
        self.stopping.set()
        self.settled.set()
        if self.running is not None:
            self.running.stop()

    def kill(self) -> None:
        """End it at once."""
        self.stopping.set()
        if self.running is not None:
            self.running.kill()

    def status(self) -> Object:
        """As the API server shows it."""
        state: Object = {"waiting": self.waiting}
        if self.running is not None:
            state = {"running": {"startedAt": self.since}}
        elif self.end is not None and self.over:
            state = {"terminated": self.end}
        last = {} if self.end is None or "terminated" in state else {"terminated": self.end}
        return {
            "name": self.name,
            "image": self.manifest["image"],
            "imageID": self.manifest["image"],
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": state,
            "lastState": last,
        }

    def _again(self, result: PodResult) -> bool:
        if self.stopping.is_set() or self.policy == "Never":
            return False
        return self.policy == "Always" or result.exit_code != 0

    def _plan(self, attempt: Attempt, place: PodPlace) -> PodPlan:
        spec = single_container(self.manifest, self.pod)
        here = Place(attempt.folder, place.volumes, place.ports, place.environment, host=place.address)
        plan = plan_pod(spec, here, deadline=None, memory_period=_MEMORY_PERIOD)
        (only,) = plan.containers
        # Nobody reads such a file in a cluster.
        env = {key: value for key, value in only.env.items() if key != names.ENV_PROGRESS}
        return replace(plan, containers=(replace(only, env=env),))

    def _note(self, attempt: Attempt, result: PodResult) -> None:
        message = termination_file(attempt.folder, self.name)
        text = message.read_text(encoding="utf-8", errors="replace") if message.is_file() else result.message
        self.end = {
            "exitCode": result.exit_code,
            "reason": _WORDS.get(result.cause, "Error" if result.exit_code else "Completed"),
            "message": text[:_MOST_MESSAGE],
            "startedAt": self.since,
            "finishedAt": _now(),
        }
        self.running, self.started, self.ready = None, False, False

    async def _pause(self) -> None:
        self.waiting = {"reason": "CrashLoopBackOff", "message": f"back-off restarting container {self.name}"}
        self.restarts += 1
        self.changed()
        try:
            await asyncio.wait_for(self.stopping.wait(), _FIRST_DELAY * 2 ** min(self.restarts - 1, 5))
        except TimeoutError:
            return

    async def _watch(self, address: str, startup: NodeProbe | None, readiness: NodeProbe | None) -> None:
        """Follow the probes of one life."""
        if startup is not None:
            while not await _answers(address, startup):  # noqa: ASYNC110 - the answer comes from another process
                await asyncio.sleep(min(startup.period, 0.2))
        self.started = True
        self.settled.set()
        if readiness is None:
            self.ready = True
            self.changed()
            return
        silences = 0
        while True:
            up = await _answers(address, readiness)
            silences = 0 if up else silences + 1
            ready = up or (self.ready and silences < readiness.failures)
            if ready != self.ready:
                self.ready = ready
                self.changed()
            await asyncio.sleep(readiness.period if ready else min(readiness.period, 0.2))

    def log(self, folder: Path) -> str:
        """The end of what its last life printed."""
        found = sorted((folder / "containers" / self.name).glob("*"), key=lambda path: int(path.name))
        path = log_file(found[-1], self.name) if found else folder
        return path.read_text(encoding="utf-8", errors="replace")[-3000:] if path.is_file() else ""


_PROBES: Final = ("startupProbe", "readinessProbe")


async def _answers(address: str, probe: NodeProbe) -> bool:
    limit = aiohttp.ClientTimeout(total=probe.timeout)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(f"http://{address}:{probe.port}{probe.path}") as answer,
        ):
            return 200 <= answer.status < 400
    except (aiohttp.ClientError, TimeoutError):
        return False


def _now() -> str:
    return format_time(datetime.now(UTC).replace(microsecond=0))
