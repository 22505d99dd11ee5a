"""The parts that every pod of ours is built from: containers, probes, volumes, resources, and what makes it harmless.

Called by the other modules here that plan pods; pure. Every pod satisfies the *restricted* Pod Security Standard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING
from typing import Any, Final

from plumbline_api import names
from plumbline_api.compute import Compute
from plumbline_api.names import Image, port_variable
from plumbline_api.scalars import parse_quantity
from plumbline_operator.observed import Runtime
from plumbline_operator.plan.reporting import Reporting
from plumbline_operator.plan.signing import signing_volumes, with_trust
from plumbline_operator.plan.storage import store_volumes, with_store

__all__ = [
    "Manifest", "PodPlan", "config_map", "container", "http_probe", "labels", "pod_template", "port_env", "threads",
]  # fmt: skip

Manifest = dict[str, Any]

_USER: Final = 65532
"""The user and group of every container: nobody in particular, and never root."""
_SCRATCH: Final = "scratch"


def labels(owner_kind: names.Kind, owner: str, **more: str) -> dict[str, str]:
    """The labels of a child: who made it, for whom, and what the keyword arguments (full label keys) add."""
    return {
        names.LABEL_MANAGED_BY: names.FIELD_MANAGER,
        names.LABEL_OWNER_KIND: owner_kind.value,
        names.LABEL_OWNER: owner,
        **more,
    }


def threads(compute: Compute) -> int:
    """Threads for a CPU request: the cores, rounded up."""
    return max(1, int(parse_quantity(compute.cpu).to_integral_value(ROUND_CEILING)))


def container(
    name: str,
    image: str,
    args: Sequence[str],
    *,
    compute: Compute,
    env: Mapping[str, str] | None = None,
    ports: Mapping[str, int] | None = None,
    mounts: Mapping[str, str] | None = None,
) -> Manifest:
    """One container; `mounts` maps volume names to paths, `ports` port names to numbers."""
    limits = {"cpu": compute.cpu} | ({"memory": compute.memory} if compute.memory else {})
    if compute.gpu is not None:
        limits[compute.gpu.product] = str(compute.gpu.count)
    made: Manifest = {
        "name": name,
        "image": image,
        "command": [args[0]],
        "args": list(args[1:]),
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        "resources": {"requests": dict(limits), "limits": limits},
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in (mounts or {}).items()],
    }
    if ports:
        made["ports"] = [{"name": key, "containerPort": number} for key, number in ports.items()]
    return made


def port_env(ports: Mapping[str, int]) -> dict[str, str]:
    """The variables by which programs of one pod learn each other's ports."""
    return {port_variable(name): str(number) for name, number in ports.items()}


def http_probe(path: str, port: str | int, *, period: int, failures: int, timeout: int = 1) -> Manifest:
    """A probe that wants a 2xx answer within `timeout` seconds."""
    request = {"path": path, "port": port}
    return {"httpGet": request, "periodSeconds": period, "failureThreshold": failures, "timeoutSeconds": timeout}


@dataclass(frozen=True)
class PodPlan:
    """What distinguishes one pod from another."""

    made_for: Image
    """Whose service account it gets."""
    labels: Mapping[str, str]
    containers: Sequence[Manifest]
    """The first is the one whose log people want."""
    preparations: Sequence[Manifest] = ()
    """Containers that have to end well, one after the other, before any other starts."""
    sidecars: Sequence[Manifest] = ()
    volumes: Sequence[Manifest] = ()
    """Volumes beside those that every pod has."""
    without_store: frozenset[str] = frozenset()
    """Containers that touch no artifact, beside the guard: they get neither the store nor the keys to trust."""
    config_map: str = ""
    """The ConfigMap that stands behind the volume `config_volume`."""
    config_volume: str = "run"
    grace_seconds: int = 30
    reporting: Reporting | None = None
    """How the first container reports its progress; None where it does not."""
    compute: Compute = field(default_factory=Compute)
    """Where it runs; what its containers may use stands in them."""
    subdomain: str = ""
    """The headless Service through which it has a name."""
    signing_secret: str = ""
    """The Secret with the key that it signs with."""


def pod_template(plan: PodPlan, runtime: Runtime) -> Manifest:
    """The template of a pod that may do nothing but its work."""
    volumes = [
        {"name": plan.config_volume, "configMap": {"name": plan.config_map}},
        {"name": "work", "emptyDir": {}},
        {"name": _SCRATCH, "emptyDir": {}},
        *plan.volumes,
    ]
    volumes += store_volumes(runtime) + signing_volumes(plan.signing_secret)
    first, *others = plan.containers
    if plan.reporting is not None:
        first = plan.reporting.equip(first)
        volumes.append(plan.reporting.volume)
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": plan.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [
            *(_harmless(made, plan, runtime) for made in plan.preparations),
            *({**_harmless(sidecar, plan, runtime), "restartPolicy": "Always"} for sidecar in plan.sidecars),
        ],
        "containers": [_harmless(made, plan, runtime) for made in (first, *others)],
        "volumes": volumes,
        "hostAliases": [] if plan.reporting is None else plan.reporting.host_aliases,
    }
    return {
        "metadata": {
            "labels": dict(plan.labels),
            "annotations": {"kubectl.kubernetes.io/default-container": plan.containers[0]["name"]},
        },
        "spec": {key: value for key, value in (spec | _placement(plan, runtime)).items() if value != []},
    }


def _harmless(made: Manifest, plan: PodPlan, runtime: Runtime) -> Manifest:
    """The container without rights, and with the only places that it may write to."""
    finished = {
        **made,
        "env": [*made["env"], *({"name": name, "value": names.MOUNT_SCRATCH} for name in ("HOME", "TMPDIR"))],
        "volumeMounts": [*made["volumeMounts"], {"name": _SCRATCH, "mountPath": names.MOUNT_SCRATCH}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if made["name"] in {names.CONTAINER_GUARD, *plan.without_store}:
        return finished
    return with_trust(with_store(finished, runtime), runtime)


def _placement(plan: PodPlan, runtime: Runtime) -> Manifest:
    """Where the pod runs, and as whom the cluster knows it."""
    found: Manifest = {
        "nodeSelector": dict(plan.compute.node_selector),
        "tolerations": [toleration.dump() for toleration in plan.compute.tolerations],
        "imagePullSecrets": [{"name": name} for name in runtime.pull_secrets],
        "serviceAccountName": runtime.service_accounts.get(plan.made_for),
        "subdomain": plan.subdomain,
    }
    return {key: value for key, value in found.items() if value}


def config_map(name: str, namespace: str, child_labels: Mapping[str, str], data: Mapping[str, str]) -> Manifest:
    """A ConfigMap that holds a file for a pod."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(child_labels)},
        "data": dict(data),
    }
