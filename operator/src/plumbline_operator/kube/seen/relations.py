"""What of an object is kept, what it belongs to, and whom a change of it concerns. Pure; called by the cache.

Children are found by the labels that plan gives them; the reference to the owner's uid, which tells an object from an
earlier one of its name, is checked where they are used.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Final, NamedTuple

from plumbline_api.names import GROUP, LABEL_OWNER, LABEL_OWNER_KIND, LABEL_SUITE, VOLUME_STATUS, Kind
from plumbline_operator.kube.api.resources import DEPLOYMENTS, JOB_SETS, JOBS, OURS, PODS, WATCHED, Resource
from plumbline_operator.observed import Key

__all__ = [
    "JOB_NAME", "JOB_SET_NAME", "ExecutedBy", "JobsOf", "OwnedBy", "PodsOf", "groups_of", "trim", "woken_by",
]  # fmt: skip

Raw = Mapping[str, Any]

JOB_NAME: Final = "batch.kubernetes.io/job-name"
"""Label of pods."""
JOB_SET_NAME: Final = "jobset.sigs.k8s.io/jobset-name"
"""Label of Jobs."""
_REPLICA_SET: Final = "pod-template-hash"
_KINDS: Final[Mapping[Resource, Kind]] = {resource: kind for kind, resource in OURS.items()}
_KEPT_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "generation",
    "labels",
    "creationTimestamp",
    "deletionTimestamp",
)


_METADATA_ONLY: Final = frozenset(what.resource for what in WATCHED if what.metadata_only)


class OwnedBy(NamedTuple):
    """The children made for an object, pods left out."""

    key: Key


class ExecutedBy(NamedTuple):
    """The Jobs that execute a suite, whoever owns them."""

    key: Key


class PodsOf(NamedTuple):
    """The pods of a Job or a Deployment."""

    kind: str
    namespace: str
    name: str


class JobsOf(NamedTuple):
    """The Jobs of a JobSet."""

    namespace: str
    name: str


def trim(resource: Resource, raw: Raw) -> dict[str, Any]:
    """An object without what nobody reads: history of fields, templates, mounts, other tools' annotations."""
    metadata = raw["metadata"]
    kept = {key: metadata[key] for key in _KEPT_METADATA if key in metadata}
    kept["ownerReferences"] = [
        {"uid": one.get("uid"), "kind": one.get("kind"), "name": one.get("name"), "controller": True}
        for one in metadata.get("ownerReferences") or ()
        if one.get("controller")
    ]
    made: dict[str, Any] = {"metadata": kept}
    if resource in _METADATA_ONLY:
        return made
    if resource in _KINDS:
        annotations = metadata.get("annotations") or {}
        kept["annotations"] = {key: value for key, value in annotations.items() if key.partition("/")[0] == GROUP}
    if "spec" in raw:
        made["spec"] = _trim_spec(resource, raw["spec"])
    if "status" in raw:
        made["status"] = raw["status"]
    return made


def _trim_spec(resource: Resource, spec: Raw) -> Any:
    if resource in (JOBS, JOB_SETS, DEPLOYMENTS):
        kept = {key: value for key, value in spec.items() if key not in ("template", "replicatedJobs")}
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        return kept | ({"template": {"metadata": {"labels": labels}}} if resource == DEPLOYMENTS else {})
    if resource == PODS:
        kept = {key: spec[key] for key in ("nodeName", "priorityClassName") if key in spec}
        for part in ("initContainers", "containers"):
            kept[part] = [
                {key: one[key] for key in ("name", "image", "resources", "restartPolicy") if key in one}
                for one in spec.get(part) or ()
            ]
        if any(volume.get("name") == VOLUME_STATUS for volume in spec.get("volumes") or ()):
            kept["volumes"] = [{"name": VOLUME_STATUS}]
        return kept
    return spec


def groups_of(resource: Resource, raw: Raw) -> tuple[Hashable, ...]:
    """What an object is to be found by."""
    if resource in _KINDS:
        return ()
    metadata = raw["metadata"]
    if resource == PODS:
        workload = _workload(metadata)
        return () if workload is None else (workload,)
    owner = _owner(metadata)
    groups: list[Hashable] = [] if owner is None else [OwnedBy(owner)]
    suite = _suite(resource, metadata)
    groups += [] if suite is None else [ExecutedBy(suite)]
    job_set = (metadata.get("labels") or {}).get(JOB_SET_NAME)
    return (*groups, JobsOf(metadata.get("namespace", ""), job_set)) if resource == JOBS and job_set else tuple(groups)


def woken_by(resource: Resource, raw: Raw) -> tuple[Key, ...]:
    """Objects of ours that a change of this one concerns at once; those that name it are found elsewhere."""
    metadata = raw["metadata"]
    kind = _KINDS.get(resource)
    if kind is not None:
        return (Key(kind, metadata.get("namespace", ""), metadata["name"]),)
    found = (_owner(metadata), _suite(resource, metadata))
    return tuple(key for key in found if key is not None)


def _owner(metadata: Raw) -> Key | None:
    labels = metadata.get("labels") or {}
    kind, name = labels.get(LABEL_OWNER_KIND), labels.get(LABEL_OWNER)
    if kind not in _KIND_NAMES or not name:
        return None
    return Key(Kind(kind), metadata.get("namespace", ""), name)


def _suite(resource: Resource, metadata: Raw) -> Key | None:
    name = (metadata.get("labels") or {}).get(LABEL_SUITE)
    return Key(Kind.RED_TEAM_SUITE, metadata.get("namespace", ""), name) if resource == JOBS and name else None


def _workload(metadata: Raw) -> PodsOf | None:
    labels = metadata.get("labels") or {}
    namespace = metadata.get("namespace", "")
    if JOB_NAME in labels:
        return PodsOf(JOBS.kind, namespace, labels[JOB_NAME])
    owner: Raw = next(iter(metadata.get("ownerReferences") or ()), {})
    if owner.get("kind") == "ReplicaSet" and _REPLICA_SET in labels:
        return PodsOf(DEPLOYMENTS.kind, namespace, str(owner.get("name")).removesuffix(f"-{labels[_REPLICA_SET]}"))
    return None


_KIND_NAMES: Final = frozenset(kind.value for kind in Kind)
