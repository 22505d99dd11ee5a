"""From what the cache knows to what decide() sees: an object, its children, and the objects and ConfigMaps it names.

Called by the Cluster port. Reads. Fetched from the API server are ConfigMaps that people write, and what ended Jobs
left behind where the cache does not know it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from plumbline_api import names
from plumbline_api.configmap import ConfigMap
from plumbline_api.names import Kind
from plumbline_api.progress import Progress
from plumbline_operator.cluster import Sight
from plumbline_operator.kube.api.resources import DEPLOYMENTS, JOB_SETS, JOBS, OURS, SERVICES, Resource
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.kube.seen.configmaps import NamedConfigMaps
from plumbline_operator.kube.seen.documents import SpecRefused, parse_config_map, parse_object, parse_status
from plumbline_operator.kube.seen.endings import Endings
from plumbline_operator.kube.seen.inputs import Table, needs_table, read_table, resolve_inputs
from plumbline_operator.kube.seen.mentions import ConfigMapName, Mentions
from plumbline_operator.kube.seen.relations import ExecutedBy, JobsOf, OwnedBy, PodsOf
from plumbline_operator.kube.workloads.jobsets import job_set_state
from plumbline_operator.kube.workloads.states import deployment_state, job_state
from plumbline_operator.observed import (
    ChildRef,
    DeploymentState,
    InputState,
    JobState,
    Key,
    Observed,
    PlumblineObject,
    PlumblineStatus,
    Problem,
    Runtime,
)
from plumbline_operator.references import Named, named_config_maps, named_objects, named_states

__all__ = ["View", "belongs"]

Raw = Mapping[str, Any]


@dataclass(frozen=True)
class View:
    """What there is to look at."""

    cache: Cache
    mentions: Mentions
    config_maps: NamedConfigMaps
    runtime: Callable[[], Runtime]
    """The settings of pods, as they are now."""
    progress: Callable[[str, str], Progress | None]
    """The newest progress report of a Job, by namespace and name."""
    listening_since: Callable[[], datetime | None]
    """Since when such reports come in; None while nobody listens."""
    now: Callable[[], datetime]
    endings: Endings
    """Completes what is known of Jobs that have ended."""
    job_sets: Callable[[], bool] = lambda: False
    """Whether the cluster serves JobSets, and they are watched."""
    _tables: dict[ConfigMapName, tuple[str, Table | Problem]] = field(default_factory=dict)
    """What was read last, by the version it was read from."""

    async def look(self, key: Key, raw: Raw) -> Sight:
        """The object, and its surroundings now.

        Args:
            key: The object.
            raw: The state of it that is meant.

        Raises:
            SpecRefused: The models refuse the spec, or that of an object it names.
            StatusUnreadable: The status is that of a newer operator.
            ApiError: A ConfigMap that it names, or what a Job left, cannot be fetched.
        """
        metadata = raw["metadata"]
        thing, status = parse_object(key.kind, raw), parse_status(key.kind, raw)
        named = named_objects(thing)
        table = [ConfigMapName(key.namespace, names.INPUTS_CONFIG_MAP)] if needs_table(thing, status) else []
        maps = [ConfigMapName(key.namespace, name) for name in named_config_maps(thing)]
        self.mentions.record(key, (*named, *table, *maps))
        inputs = await self._inputs(thing, status, table)
        found = {name.name: await self._config_map(name) for name in maps}
        owned = await self._children(key, metadata["uid"])
        runs, suites, gates = named_states(self._named(named))
        return thing, Observed(
            key=key,
            generation=int(metadata.get("generation", 1)),
            status=status,
            runtime=self._runtime(),
            annotations=metadata.get("annotations") or {},
            children=frozenset(ChildRef(resource.kind, child["metadata"]["name"]) for resource, child in owned),
            jobs=tuple(map(self._job_state, self._jobs(key, owned))),
            deployments=self._deployments(owned),
            inputs=inputs,
            runs=runs,
            suites=suites,
            gates=gates,
            config_maps={name: one for name, one in found.items() if one is not None},
            deleting="deletionTimestamp" in metadata,
        )

    def _runtime(self) -> Runtime:
        runtime = self.runtime()
        return replace(runtime, job_sets=True) if self.job_sets() else runtime

    async def _inputs(
        self, thing: PlumblineObject, status: PlumblineStatus, table: Iterable[ConfigMapName]
    ) -> Mapping[str, InputState]:
        known: Table | Problem = {}
        for name in table:
            known = self._table(name, await self.config_maps.get(name))
        return resolve_inputs(thing, status, known, self.runtime().store)

    def _table(self, name: ConfigMapName, raw: Raw | None) -> Table | Problem:
        """The table of a namespace; reading YAML takes as long as all the rest of a turn."""
        version = "" if raw is None else str(raw["metadata"]["resourceVersion"])
        read = self._tables.get(name)
        if read is None or read[0] != version:
            read = self._tables[name] = version, read_table(raw, name.namespace)
        return read[1]

    async def _config_map(self, name: ConfigMapName) -> ConfigMap | None:
        raw = await self.config_maps.get(name)
        return None if raw is None else parse_config_map(raw)

    async def _children(self, key: Key, uid: str) -> Sequence[tuple[Resource, Raw]]:
        """What was made for the object, once all is known of the Jobs among it that have ended. Raises ApiError."""
        while True:
            owned = [child for child in self.cache.members(OwnedBy(key)) if belongs(child[1], uid)]
            doubtful = [job for job in self._jobs(key, owned) if self.endings.in_doubt(*job)]
            if not doubtful:
                return owned
            for job in doubtful:
                await self.endings.read(*job)

    def _jobs(self, key: Key, owned: Iterable[tuple[Resource, Raw]]) -> Iterator[tuple[Resource, Raw]]:
        among = self.cache.members(ExecutedBy(key)) if key.kind == Kind.RED_TEAM_SUITE else owned
        return (one for one in among if one[0] in (JOBS, JOB_SETS))

    def _job_state(self, job: tuple[Resource, Raw]) -> JobState:
        resource, raw = job
        return self._job(raw) if resource == JOBS else self._job_set(raw)

    def _job(self, raw: Raw) -> JobState:
        namespace, name = raw["metadata"]["namespace"], raw["metadata"]["name"]
        pods, told = self._pods(JOBS, namespace, name), self.progress(namespace, name)
        return job_state(raw, pods, told, self.now(), listening_since=self.listening_since())

    def _job_set(self, raw: Raw) -> JobState:
        namespace, name = raw["metadata"]["namespace"], raw["metadata"]["name"]
        jobs = [job for _, job in self.cache.members(JobsOf(namespace, name))]
        pods = [pod for job in jobs for pod in self._pods(JOBS, namespace, job["metadata"]["name"])]
        told, since = self.progress(namespace, name), self.listening_since()
        return job_set_state(raw, jobs, pods, told, self.now(), listening_since=since)

    def _deployments(self, owned: Iterable[tuple[Resource, Raw]]) -> tuple[DeploymentState, ...]:
        services = [raw for resource, raw in owned if resource == SERVICES]
        found = []
        for resource, raw in owned:
            if resource == DEPLOYMENTS:
                pods = self._pods(DEPLOYMENTS, raw["metadata"]["namespace"], raw["metadata"]["name"])
                service = next((one for one in services if _chooses(one, raw)), None)
                found.append(deployment_state(raw, pods, service, self.now()))
        return tuple(found)

    def _pods(self, resource: Resource, namespace: str, name: str) -> list[Raw]:
        return [raw for _, raw in self.cache.members(PodsOf(resource.kind, namespace, name))]

    def _named(self, named: Iterable[Key]) -> Iterator[Named]:
        for key in named:
            raw = self.cache.get(OURS[key.kind], key.namespace, key.name)
            if raw is None or "deletionTimestamp" in raw["metadata"]:
                continue
            try:
                found, status = parse_object(key.kind, raw), parse_status(key.kind, raw)
            except SpecRefused as error:
                raise SpecRefused(f"{key.kind} {key.name}, which is named here, cannot be used: {error}") from error
            yield Named(key, found, status, int(raw["metadata"].get("generation", 1)))


def belongs(child: Raw, uid: str) -> bool:
    """Whether the object with this uid, and not an earlier one of its name, controls the child."""
    references = child["metadata"].get("ownerReferences") or ()
    return any(one.get("controller") and one.get("uid") == uid for one in references)


def _chooses(service: Raw, deployment: Raw) -> bool:
    """Whether a Service sends its traffic to the pods of a Deployment."""
    selector = (service.get("spec") or {}).get("selector") or {}
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())
