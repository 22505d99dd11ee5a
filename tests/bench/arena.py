"""Where operators are measured beside each other: an API server with nothing around it, and runs that are made on it.

The controllers and the scheduler are ended: what they do with Jobs would take the server's time from whoever is
measured, and more of it from the faster one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from plumbline_api.names import Kind
from plumbline_operator.decide import decide
from plumbline_operator.kube.seen.documents import owner_reference
from plumbline_operator.observed import Key
from tests.bench.goals import cpu_seconds
from tests.cluster.client import JOBS, NAMESPACES, KubeClient, Object, eventually
from tests.cluster.controlplane import ControlPlane, control_plane
from tests.cluster.crds import KINDS, install_crds
from tests.cluster.operating import apply_inputs
from tests.cluster.programs import find_programs
from tests.support import build
from tests.support.world import World, key_of

__all__ = ["Arena", "Life", "Reaction", "arena", "beginnings", "bodies", "burst", "steady"]

RUNS: Final = KINDS[Kind.ALIGNMENT_RUN]
IN_FLIGHT: Final = 48
"""Calls at a time, of whoever makes runs; the operator has as many workers."""
PATIENCE: Final = 240.0


@dataclass(frozen=True)
class Life:
    """The first step of a run's life: the run, what the operator makes for it, and the status it writes."""

    run: Object
    children: Sequence[tuple[str, Object]]
    """Kinds and manifests, in the order in which they are made."""
    status: Object


Reaction = Callable[[Life, Object], Awaitable[None]]
"""What follows the creation of a run, given the server's copy of it; nothing where an operator watches."""


@dataclass
class Arena:
    """An API server, and how busy it is."""

    plane: ControlPlane
    crowds: dict[int, str] = field(default_factory=dict)
    """Namespaces with runs at rest, by how many there are."""
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000)))

    @asynccontextmanager
    async def namespace(self, kube: KubeClient) -> AsyncIterator[str]:
        """A namespace of one round, with the inputs that runs name. It stays: nobody is there to empty it."""
        name = f"round-{next(self._numbers)}"
        await kube.create(NAMESPACES, {"metadata": {"name": name}})
        await apply_inputs(kube, name)
        yield name

    def server_cpu(self) -> float:
        """Processor time of API server and etcd so far."""
        return sum(cpu_seconds(part.pid) for part in (self.plane.etcd, self.plane.api))


@contextmanager
def arena() -> Iterator[Arena]:
    """A control plane of its own, reduced to API server and etcd, that knows our kinds."""
    with control_plane(find_programs()) as plane:
        plane.controllers.kill()
        plane.scheduler.kill()

        async def prepare() -> None:
            async with plane.client() as kube:
                await install_crds(kube)

        asyncio.run(prepare())
        yield Arena(plane)


async def beginnings(namespace: str, count: int, prefix: str = "run") -> list[Life]:
    """What an operator has to do for so many new runs."""
    return [await _beginning(namespace, f"{prefix}-{number:05}") for number in range(count)]


async def _beginning(namespace: str, name: str) -> Life:
    run = build.run(name)
    sight = await World().add(run).observe(key_of(run))
    assert sight is not None
    observed = replace(sight[1], key=Key(Kind.ALIGNMENT_RUN, namespace, name))
    decision = decide(run, observed, build.NOON)
    children = [(child.ref.kind, dict(child.manifest)) for child in decision.apply]
    body = run.dump()
    return Life(body | {"metadata": body["metadata"] | {"namespace": namespace}}, children, decision.status.dump())


def bodies(life: Life, made: Object) -> list[tuple[str, Object]]:
    """The children of a run that was made."""
    metadata = made["metadata"]
    key = Key(Kind.ALIGNMENT_RUN, metadata["namespace"], metadata["name"])
    owner = {"ownerReferences": [owner_reference(key, metadata["uid"])]}
    return [(kind, body | {"metadata": body["metadata"] | owner}) for kind, body in life.children]


async def burst(kube: KubeClient, namespace: str, lives: Sequence[Life], reaction: Reaction | None = None) -> float:
    """Make runs as fast as the server takes them; seconds until each has its Job."""
    before, waiting = await _count_jobs(kube, namespace), list(reversed(lives))

    async def make() -> None:
        while waiting:
            life = waiting.pop()
            made = await kube.create(RUNS, life.run, namespace)
            if reaction is not None:
                await reaction(life, made)

    begun = time.perf_counter()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.create_task(make())
        await tasks.create_task(_see_jobs(kube, namespace, before + len(lives)))
        taken = time.perf_counter() - begun
    return taken


async def _see_jobs(kube: KubeClient, namespace: str, count: int) -> None:
    async def look() -> bool:
        return await _count_jobs(kube, namespace) >= count

    await eventually(look, PATIENCE)


async def _count_jobs(kube: KubeClient, namespace: str) -> int:
    found = await kube.call("GET", JOBS.path(namespace), query={"limit": "1"})
    return len(found["items"]) + int(found["metadata"].get("remainingItemCount", 0))


async def steady(
    kube: KubeClient, namespace: str, lives: Sequence[Life], rate: float, reaction: Reaction | None = None
) -> list[float]:
    """Make so many runs a second, whether or not the last ones have been dealt with; seconds from each to its Job."""
    begun: dict[str, float] = {}
    taken: dict[str, float] = {}
    listed = await kube.call("GET", JOBS.path(namespace), query={"limit": "1"})

    async def make(life: Life, moment: float) -> None:
        await asyncio.sleep(moment - time.perf_counter())
        begun[life.run["metadata"]["name"]] = time.perf_counter()
        made = await kube.create(RUNS, life.run, namespace)
        if reaction is not None:
            await reaction(life, made)

    async def see() -> None:
        async for event in kube.watch(JOBS, namespace, listed["metadata"]["resourceVersion"]):
            owner = event.object["metadata"]["ownerReferences"][0]["name"]
            if event.type == "ADDED" and owner in begun:
                taken[owner] = time.perf_counter() - begun[owner]
                if len(taken) == len(lives):
                    return

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        tasks.create_task(see())
        start = time.perf_counter() + 0.2
        for number, life in enumerate(lives):
            tasks.create_task(make(life, start + number / rate))
    return list(taken.values())
