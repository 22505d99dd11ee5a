"""The parts that every pod of ours is built from: containers, probes, volumes, resources.

Called by plan.stages, plan.evaluation and plan.serving; pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING
from typing import Any

from plumbline_api import names
from plumbline_api.alignment import Compute
from plumbline_api.names import port_variable
from plumbline_api.scalars import parse_quantity
from plumbline_operator.exits import FATAL_EXIT_CODES

__all__ = [
    "JobPlan",
    "config_map",
    "container",
    "engine_container",
    "http_probe",
    "job",
    "labels",
    "port_env",
    "threads",
]

_GRACE_SECONDS = 60
_BACKOFF_LIMIT = 3
Manifest = dict[str, Any]


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


def engine_container(image: str, store: str, digest: str, compute: Compute, *, max_tokens: int) -> Manifest:
    """The engine, serving one model by digest on loopback."""
    ports = {names.PORT_ENGINE: 8000}
    variable = port_variable(names.PORT_ENGINE)
    command = ["plumbline-engine", "--model", store, "--digest", digest, "--work", names.MOUNT_WORK]
    command += ["--port", f"$({variable})", "--threads", str(threads(compute)), "--max-tokens", str(max_tokens)]
    return container(
        names.CONTAINER_ENGINE,
        image,
        command,
        compute=compute,
        env=port_env(ports),
        ports=ports,
        mounts={"work": names.MOUNT_WORK},
    )


def http_probe(path: str, port: str, *, period: int, failures: int) -> Manifest:
    """A probe that wants a 2xx answer."""
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": period, "failureThreshold": failures}


@dataclass(frozen=True)
class JobPlan:
    """What distinguishes one Job from another."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    containers: Sequence[Manifest]
    sidecars: Sequence[Manifest] = ()
    deadline_seconds: int | None = None


def job(plan: JobPlan) -> Manifest:
    """The Job: bad specs and bad data fail at once, a preempted attempt (exit 75) does not count."""
    spec: Manifest = {
        "backoffLimit": _BACKOFF_LIMIT,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "operator": "In",
                        "values": sorted(FATAL_EXIT_CODES),
                    },
                },
                {
                    "action": "Ignore",
                    "onExitCodes": {
                        "operator": "In",
                        "values": [names.ExitCode.PREEMPTED],
                    },
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            ]
        },
        "template": {
            "metadata": {"labels": dict(plan.labels)},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": _GRACE_SECONDS,
                "initContainers": [{**sidecar, "restartPolicy": "Always"} for sidecar in plan.sidecars],
                "containers": list(plan.containers),
                "volumes": [
                    {"name": "run", "configMap": {"name": plan.name}},
                    {"name": "work", "emptyDir": {}},
                ],
            },
        },
    }
    if plan.deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = plan.deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": plan.name, "namespace": plan.namespace, "labels": dict(plan.labels)},
        "spec": spec,
    }


def config_map(name: str, namespace: str, child_labels: Mapping[str, str], data: Mapping[str, str]) -> Manifest:
    """A ConfigMap that holds a file for a pod."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(child_labels)},
        "data": dict(data),
    }
