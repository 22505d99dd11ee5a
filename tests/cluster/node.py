"""A node whose pods are processes: registered at the real API server, given pods by the real scheduler.

It does a kubelet's part with the parts of local mode: containers in their order, volumes, probes, exit codes,
termination messages, signals and grace. It pulls no images and isolates nothing: the first word of a container's
command is a program of this installation. What a probe names listens at an address of the pod alone;
everything else a pod declares listens on free ports of 127.0.0.1.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp

from plumbline_api.model import format_time
from plumbline_operator.local.ports import PortPool
from plumbline_operator.local.processes import kill_marked
from plumbline_operator.local.settings import read_settings
from tests.cluster.client import PODS, ApiError, KubeClient, Object, Resource
from tests.cluster.node_pod import PodLife

__all__ = ["Node", "process_node"]

NODES: Final = Resource("", "v1", "nodes", namespaced=False)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases")
LEASE_NAMESPACE: Final = "kube-node-lease"
HEARTBEAT: Final = 10.0
"""Seconds; the controllers give a silent node up after 50."""
ENDING: Final = 30.0
"""Seconds that killed processes get to be gone."""
ROOM: Final = {"cpu": "16", "memory": "64Gi", "pods": "50", "ephemeral-storage": "100Gi"}


class Node:
    """The node, and the pods it has."""

    def __init__(self, kube: KubeClient, name: str, folder: Path, namespaces: frozenset[str]) -> None:
        self.name = name
        self._kube, self._folder, self._namespaces = kube, folder, namespaces
        self._lives: dict[str, PodLife] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ports = PortPool()
        self._environment: Mapping[str, str] = read_settings(os.environ).environment
        self._numbers = count(1)

    def pods(self, prefix: str = "") -> list[PodLife]:
        """Those of its namespaces that it has or had whose names begin so, oldest first."""
        ours = [life for life in self._lives.values() if life.pod["metadata"]["namespace"] in self._namespaces]
        return [life for life in ours if life.name.startswith(prefix)]

    def crash(self, life: PodLife) -> bool:
        """Kill the processes of a pod's containers with SIGKILL; whether there were any."""
        attempts = [one.running for one in life.main if one.running is not None]
        return any([kill_marked(attempt.folder) for attempt in attempts])

    def describe(self) -> str:
        """All pods and the end of their logs."""
        return "\n".join(life.describe() for life in self.pods())

    async def watch(self) -> None:
        """Take what the scheduler gives, and let go what is deleted, for ever."""
        while True:
            with suppress(ApiError, aiohttp.ClientError):
                async for event in self._kube.watch(PODS, fieldSelector=f"spec.nodeName={self.name}"):
                    if event.type in ("ADDED", "MODIFIED"):
                        self._see(event.object)
            await asyncio.sleep(0.1)

    async def keep_alive(self) -> None:
        """Renew the lease, for ever."""
        while True:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.name}}
            spec = {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": now}
            with suppress(ApiError, aiohttp.ClientError):
                await self._kube.apply(LEASES, {**body, "spec": spec}, LEASE_NAMESPACE, force=True)
            await asyncio.sleep(HEARTBEAT)

    async def close(self) -> None:
        """End all processes, and let all pods go."""
        for life in self._lives.values():
            life.delete(0)
        if self._tasks:
            _, left = await asyncio.wait(self._tasks.values(), timeout=ENDING)
            for task in left:
                task.cancel()

    def raise_failure(self) -> None:
        """Raise what ended the care for a pod, where something did."""
        for task in self._tasks.values():
            if task.done() and not task.cancelled():
                task.result()

    def _see(self, pod: Object) -> None:
        metadata = pod["metadata"]
        uid, going = metadata["uid"], "deletionTimestamp" in metadata
        over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if uid not in self._lives and not (over and not going):
            self._lives[uid] = life = self._take(pod)
            # A pod that another test left never starts, and may go.
            ours = metadata["namespace"] in self._namespaces
            work = life.run() if ours else life.wait_and_let_go()
            self._tasks[uid] = asyncio.ensure_future(work)
        if going and uid in self._lives:
            self._lives[uid].delete(float(metadata.get("deletionGracePeriodSeconds") or 0))

    def _take(self, pod: Object) -> PodLife:
        # Another test run on this machine has other addresses.
        own, number = os.getpid(), next(self._numbers)
        address = f"127.{1 + own % 250}.{own // 250 % 250}.{number % 250 + 1}"
        folder = self._folder / pod["metadata"]["uid"]
        return PodLife(self._kube, pod, folder, address, self._ports, self._environment)


@asynccontextmanager
async def process_node(
    kube: KubeClient, folder: Path, *namespaces: str, name: str = "processes"
) -> AsyncIterator[Node]:
    """A node that is ready, for the pods of these namespaces; afterwards it and its processes are gone."""
    await kube.create(NODES, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
    now = format_time(datetime.now(UTC))
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastTransitionTime": now}
    status = {"capacity": ROOM, "allocatable": ROOM, "conditions": [ready | {"lastHeartbeatTime": now}]}
    node = Node(kube, name, folder, frozenset(namespaces))
    care = [asyncio.ensure_future(node.keep_alive()), asyncio.ensure_future(node.watch())]
    try:
        await kube.merge(NODES, name, {"status": status}, subresource="status")
        await kube.until(NODES, name, None, lambda found: not found["spec"].get("taints"))
        yield node
        node.raise_failure()
    finally:
        for task in care:
            task.cancel()
        await node.close()
        await kube.delete(NODES, name)
