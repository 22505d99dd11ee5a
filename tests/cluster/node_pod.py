"""One pod on a node of processes: volumes, containers in their order, its status, and its end when it is deleted."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import aiohttp

from plumbline_api.model import format_time
from plumbline_operator.local.offered import Unplannable
from plumbline_operator.local.ports import PortPool
from tests.cluster.client import PODS, ApiError, KubeClient, Object
from tests.cluster.node_container import Container, PodPlace
from tests.cluster.node_spec import Unable, containers_in, loopback_ports, probed_ports
from tests.cluster.node_volumes import mount_volumes

__all__ = ["PodLife"]

STRATEGIC = "application/strategic-merge-patch+json"


class PodLife:
    """A pod from the moment it is bound to the node."""

    def __init__(
        self, kube: KubeClient, pod: Object, folder: Path, address: str, ports: PortPool, environment: Mapping[str, str]
    ) -> None:
        self.pod = {**pod, "status": {**pod.get("status", {}), "podIP": address}}
        self.folder, self.address = folder, address
        self._kube, self._ports, self._environment = kube, ports, environment
        self._changed, self._wanted_gone = asyncio.Event(), asyncio.Event()
        policy = pod["spec"].get("restartPolicy", "Always")
        first = len(pod["spec"].get("initContainers") or ())
        # What has to end before others start is done once it has ended well, wherever all else is started again.
        once = policy if policy == "Never" else "OnFailure"
        made = [
            Container(one, self.pod, one.get("restartPolicy") or (once if at < first else policy), self._changed.set)
            for at, one in enumerate(containers_in(pod["spec"]))
        ]
        self.initial, self.main = made[:first], made[first:]
        self._lives: list[asyncio.Task[None]] = []
        self._since = format_time(datetime.now(UTC).replace(microsecond=0))
        self._grace: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """Unique in its namespace."""
        return str(self.pod["metadata"]["name"])

    async def run(self) -> None:
        """See it through; afterwards the API server knows how it ended, and a deleted pod is gone."""
        telling = asyncio.ensure_future(self._tell_changes())
        try:
            await self._work()
        finally:
            telling.cancel()
            for task in self._lives:
                task.cancel()
        await self._tell()
        await self.wait_and_let_go()

    async def wait_and_let_go(self) -> None:
        """Wait until somebody wants it gone, and confirm that it is."""
        await self._wanted_gone.wait()
        await self._let_go()

    def delete(self, seconds: float) -> None:
        """Somebody wants it gone: end with so much grace. Called again where the grace is shortened."""
        if self._grace is not None:
            self._grace.cancel()
        self._grace = asyncio.get_running_loop().call_later(seconds, self.kill)
        if not self._wanted_gone.is_set():
            self._wanted_gone.set()
            self._stop(self.main)
            for container in self.initial:
                container.settled.set()

    def kill(self) -> None:
        """End all processes at once."""
        for container in (*self.main, *self.initial):
            container.kill()

    def describe(self) -> str:
        """Its containers and the end of their logs."""
        lines = (f"{self.name}/{one.name}: {one.status()['state']}\n{one.log(self.folder)}" for one in self._all())
        return "\n".join(lines)

    def _all(self) -> Iterator[Container]:
        yield from self.initial
        yield from self.main

    async def _work(self) -> None:
        with ExitStack() as held:
            place = await self._prepare(held)
            if place is not None and await self._begin(place):
                lives = [self._start(container, place) for container in self.main]
                await asyncio.gather(*lives)
            for container in self.main:
                container.over = True
            self._stop([one for one in reversed(self.initial) if not one.over])
            await asyncio.gather(*self._lives, return_exceptions=True)

    async def _prepare(self, held: ExitStack) -> PodPlace | None:
        """Volumes and ports; None where the pod is deleted before it has them."""
        spec = self.pod["spec"]
        while not self._wanted_gone.is_set():
            try:
                volumes = await mount_volumes(self._kube, self.pod, self.folder / "volumes")
            except (Unable, ApiError) as error:
                self._wait_for("ContainerCreating", str(error))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted_gone.wait(), 0.3)
                continue
            ports = probed_ports(spec) | held.enter_context(self._ports.keep(loopback_ports(spec)))
            return PodPlace(self.folder, volumes, ports, self.address, self._environment)
        return None

    async def _begin(self, place: PodPlace) -> bool:
        """Run what runs before the others, and start what runs beside them; whether the others may start."""
        for container in self.initial:
            life = self._start(container, place)
            if container.policy != "Always":
                await life
                if not container.succeeded:
                    return False
            await container.settled.wait()
            if self._wanted_gone.is_set():
                return False
        return not self._wanted_gone.is_set()

    def _start(self, container: Container, place: PodPlace) -> asyncio.Task[None]:
        async def live() -> None:
            try:
                await container.live(place)
            except (Unable, Unplannable) as error:
                container.waiting = {"reason": "CreateContainerConfigError", "message": str(error)}
                self._changed.set()
                await self._wanted_gone.wait()

        self._lives.append(asyncio.ensure_future(live()))
        return self._lives[-1]

    def _stop(self, containers: list[Container]) -> None:
        for container in containers:
            container.stop()

    def _wait_for(self, reason: str, message: str) -> None:
        for container in self._all():
            container.waiting = {"reason": reason, "message": message}
        self._changed.set()

    # What the API server is told

    def _phase(self) -> str:
        failed = any(one.over and not one.succeeded for one in self._plain())
        if (failed or all(one.over for one in self.main)) and not any(one.running for one in self.initial):
            return "Succeeded" if all(one.succeeded for one in self.main) else "Failed"
        begun = any(one.running or one.end for one in self.main)
        return "Running" if begun else "Pending"

    def _plain(self) -> Iterator[Container]:
        return (one for one in self.initial if one.policy != "Always")

    def _status(self) -> Object:
        ready = all(one.ready for one in (*self.main, *(one for one in self.initial if one.policy == "Always")))
        begun = all(one.started or one.succeeded for one in self.initial)
        facts = {
            "PodReadyToStartContainers": True,
            "Initialized": begun,
            "ContainersReady": ready,
            "Ready": ready,
        }
        return {
            "phase": self._phase(),
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "hostIP": "127.0.0.1",
            "startTime": self._since,
            "conditions": [
                {"type": kind, "status": str(holds), "lastTransitionTime": self._since} for kind, holds in facts.items()
            ],
            "containerStatuses": [one.status() for one in self.main],
            "initContainerStatuses": [one.status() for one in self.initial],
        }

    async def _tell_changes(self) -> None:
        while True:
            await self._tell()
            await self._changed.wait()
            self._changed.clear()

    async def _tell(self) -> None:
        metadata = self.pod["metadata"]
        path = PODS.path(metadata["namespace"], self.name, "status")
        body = {"metadata": {"uid": metadata["uid"]}, "status": self._status()}
        while True:
            try:
                await self._kube.call("PATCH", path, body, content=STRATEGIC)
                return
            except ApiError as error:
                if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                    return
                raise
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)

    async def _let_go(self) -> None:
        metadata = self.pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        with suppress(ApiError):
            await self._kube.call("DELETE", PODS.path(metadata["namespace"], self.name), options)
