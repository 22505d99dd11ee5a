"""The Cluster port over files and child processes. Driven by `controller`; holds no decision of its own."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from plumbline_api import names
from plumbline_api.names import Kind
from plumbline_operator.cluster import Sight
from plumbline_operator.decision import Child, Event
from plumbline_operator.local.images import local_images
from plumbline_operator.local.inputs import resolve_inputs
from plumbline_operator.local.jobs import Job
from plumbline_operator.local.layout import Layout
from plumbline_operator.local.podspec import containers_of
from plumbline_operator.local.records import CONFIG_MAP, Record, Records
from plumbline_operator.local.settings import LocalSettings
from plumbline_operator.local.workload import Workload
from plumbline_operator.observed import (
    ChildRef,
    Key,
    Observed,
    PlumblineStatus,
    Runtime,
)
from plumbline_operator.references import Named, named_config_maps, named_objects, named_states
from plumbline_store import open_store

if TYPE_CHECKING:
    from plumbline_store.signing import SigningKey

__all__ = ["LocalCluster"]

JOB, DEPLOYMENT = "Job", "Deployment"
KEPT = (CONFIG_MAP, "Service", "NetworkPolicy", "PodDisruptionBudget")
"""Children without processes. Only a ConfigMap is read; what the others are for is so on one machine anyway: a guard
has one address, nothing but loopback reaches it, and it is there once."""
Clock = Callable[[], datetime]


class LocalCluster:
    """Objects in a state directory, Jobs and Deployments as processes of this machine."""

    def __init__(self, layout: Layout, settings: LocalSettings, clock: Clock, changed: Callable[[], None]) -> None:
        self.records = Records(layout)
        self.workload = Workload(layout, settings, self._texts, changed)
        self._clock = clock
        self._store = open_store(layout.store.as_uri())
        self._programs = settings.programs
        self._trust = settings.trust
        self._signing_key = _read_key(settings.signing_key)

    @cached_property
    def _runtime(self) -> Runtime:
        """Hashing our sources takes a moment, which commands that run nothing need not spend."""
        return Runtime(images=local_images(self._programs), store=self._store.uri, trust=self._trust)

    async def keys(self) -> tuple[Key, ...]:
        """All objects of our kinds."""
        return self.records.keys()

    async def observe(self, key: Key) -> Sight | None:
        """The object, its children, and the objects and files it names."""
        record = self.records.record(key.kind.value, key.namespace, key.name)
        thing = self.records.object(key)
        if record is None or thing is None:
            return None
        status = self.records.status(key)
        runs, suites, gates = named_states(map(self._read, named_objects(thing)))
        maps = {name: self.records.config_map(key.namespace, name) for name in named_config_maps(thing)}
        deployments = [pod for pod in self.workload.deployments if pod.record.belongs_to(key)]
        return thing, Observed(
            key=key,
            generation=record.generation,
            status=status,
            runtime=self._runtime,
            annotations={**thing.metadata.annotations, **record.annotations},
            children=self._children(key),
            jobs=tuple(job.state() for job in self.workload.jobs if _concerns(job, key)),
            deployments=tuple(pod.state() for pod in deployments),
            inputs=await asyncio.to_thread(resolve_inputs, thing, status, record.file, self._store, self._signing_key),
            runs=runs,
            suites=suites,
            gates=gates,
            config_maps={name: found for name, found in maps.items() if found is not None},
        )

    async def apply(self, owner: Key, child: Child) -> None:
        """Create the child where it does not exist; Jobs and Deployments start at once."""
        if child.ref.kind == JOB:
            self.workload.create_job(owner, child.manifest)
        elif child.ref.kind == DEPLOYMENT:
            self.workload.create_deployment(owner, child.manifest)
        elif child.ref.kind in KEPT:
            self._keep(owner, child)
        else:
            raise ValueError(f"{owner} wants a {child.ref.kind}, a kind that local mode does not know")

    async def delete(self, owner: Key, ref: ChildRef) -> None:
        """Remove the child, ending its processes; another owner's child stays."""
        if ref not in self._children(owner):
            return
        if ref.kind in KEPT:
            self.records.remove(ref.kind, owner.namespace, ref.name)
        else:
            await self.workload.remove(ref.kind, owner.namespace, ref.name)

    async def write_status(self, key: Key, status: PlumblineStatus) -> None:
        """Replace the status of the object."""
        self.records.write_status(key, status)

    async def emit(self, key: Key, event: Event) -> None:
        """Record an event about the object."""
        self.records.emit(key, event, self._clock())

    async def retire(self, owners: Collection[Key]) -> None:
        """Remove Jobs at work that were made for programs that have been updated since.

        A cluster keeps the image that a Job was made with. Here the new programs would go on with it, and the result be
        recorded as the old ones'.
        """
        for job in self.workload.jobs:
            images = {container["image"] for container in containers_of(job.record.pod)}
            if job.record.owner_key in owners and not job.done and not images <= set(self._runtime.images.values()):
                await self.workload.remove(JOB, job.record.namespace, job.name)

    async def remove(self, key: Key) -> None:
        """Remove an object with everything made for it, except what it put into the store."""
        for ref in sorted(self._children(key)):
            await self.delete(key, ref)
        self.records.forget(key)

    def _children(self, key: Key) -> frozenset[ChildRef]:
        jobs = [ChildRef(JOB, job.name) for job in self.workload.jobs if job.record.belongs_to(key)]
        pods = [ChildRef(DEPLOYMENT, pod.name) for pod in self.workload.deployments if pod.record.belongs_to(key)]
        kept = [
            ChildRef(kind, name)
            for kind in KEPT
            for namespace, name, record in self.records.kept(kind)
            if namespace == key.namespace and record.owner == str(key)
        ]
        return frozenset([*jobs, *pods, *kept])

    def _read(self, key: Key) -> Named:
        record = self.records.record(key.kind.value, key.namespace, key.name)
        generation = 0 if record is None else record.generation
        return Named(key, self.records.object(key), self.records.status(key), generation)

    def _keep(self, owner: Key, child: Child) -> None:
        kind, name = child.ref.kind, child.ref.name
        if self.records.record(kind, owner.namespace, name) is None:
            uid = f"{owner}/{name}"[:64]
            record = Record(manifest=dict(child.manifest), uid=uid, created=self._clock(), owner=str(owner))
            self.records.write(kind, owner.namespace, name, record)

    def _texts(self, namespace: str, name: str) -> Mapping[str, str] | None:
        found = self.records.record(CONFIG_MAP, namespace, name)
        return None if found is None else dict(found.manifest.get("data", {}))


def _read_key(path: Path | None) -> "SigningKey | None":
    if path is None:
        return None
    from plumbline_store.signing import SigningKey

    return SigningKey.read(path)


def _concerns(job: Job, key: Key) -> bool:
    if key.kind == Kind.RED_TEAM_SUITE:
        return job.record.namespace == key.namespace and job.record.labels.get(names.LABEL_SUITE) == key.name
    return job.record.belongs_to(key)
