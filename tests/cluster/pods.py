"""What a kubelet writes, written by a test, and what decide() would see of it. No node runs here."""

import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from plumbline_api.model import canonical_json, format_time
from plumbline_api.names import CONTAINER_WORKER
from plumbline_api.reasons import Reason
from plumbline_api.report import Summary
from plumbline_operator.decision import Child
from plumbline_operator.kube.workloads.states import job_state
from plumbline_operator.observed import JobPhase, JobState, Runtime
from tests.cluster.client import (
    JOBS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    KubeClient,
    Object,
    Resource,
    eventually,
)
from tests.support import planned

__all__ = [
    "PLAIN", "RESTRICTED", "container", "ended", "enforce_restricted", "make", "make_job", "pod_of", "pod_spec",
    "stand_in_node", "state_of", "state_with", "tell",
]  # fmt: skip

NODES = Resource("", "v1", "nodes", namespaced=False)
ONLY = "tests.plumbline.dev/only"
"""A taint: the namespace whose pods a node takes."""

PLAIN = replace(planned.CLUSTER, store_claim=None)
"""Settings with everything but a volume claim, which would have to exist."""


RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
"""Labels of a namespace that refuses whatever is not restricted, in the Pod Security Standards' sense."""


async def enforce_restricted(kube: KubeClient, namespace: str) -> None:
    """Let a namespace refuse whatever is not restricted, and have the accounts that the settings name."""
    await kube.merge(NAMESPACES, namespace, {"metadata": {"labels": RESTRICTED}})
    for name in ("trainer", "evaluator", "guard"):
        await kube.create(SERVICE_ACCOUNTS, {"metadata": {"name": name}}, namespace)


@asynccontextmanager
async def stand_in_node(kube: KubeClient, only: str = "") -> AsyncIterator[str]:
    """A node with four cores and no GPU that takes pods; for a moment, because nobody keeps it alive.

    With ``only``, a namespace, it takes what ``make_job`` makes there, and has a name of its own: pods that another
    test has left, that run or are about to on a node of that name, would else fill it.
    """
    name = f"stand-in-{only}" if only else "stand-in"
    taints = [{"key": ONLY, "value": only, "effect": "NoSchedule"}] if only else []
    node = {"metadata": {"name": name, "labels": {"pool": "small"}}, "spec": {"taints": taints}}
    await kube.create(NODES, node)
    now = format_time(datetime.now(UTC))
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastHeartbeatTime": now}
    room = {"cpu": "4", "memory": "8Gi", "pods": "10", "ephemeral-storage": "10Gi"}
    status = {"capacity": room, "allocatable": room, "conditions": [ready | {"lastTransitionTime": now}]}
    try:
        await kube.merge(NODES, name, {"status": status}, subresource="status")
        await kube.until(NODES, name, None, lambda node: node["spec"].get("taints", []) == taints)
        yield name
    finally:
        await kube.delete(NODES, name)


async def make(kube: KubeClient, namespace: str, resource: Resource, child: Child) -> Object:
    """Create a planned object here."""
    body = copy.deepcopy(dict(child.manifest))
    body["metadata"]["namespace"] = namespace
    return await kube.create(resource, body, namespace)


async def make_job(
    kube: KubeClient, namespace: str, runtime: Runtime = PLAIN, options: dict[str, object] | None = None, **spec: Any
) -> str:
    """Create the Job of a stage, whose pods may go to the node of their namespace; its name."""
    made = await make(kube, namespace, JOBS, planned.stage(runtime, options, **_at_home(namespace, spec))[-1])
    return str(made["metadata"]["name"])


def pod_spec(namespace: str, **spec: Any) -> Object:
    """What the Job of ``make_job`` would make its pods from."""
    template = planned.stage(PLAIN, **_at_home(namespace, spec))[-1].manifest["spec"]["template"]
    return copy.deepcopy(dict(template["spec"]))


def _at_home(namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    compute = dict(spec.get("compute", {}))
    home = {"key": ONLY, "operator": "Equal", "value": namespace, "effect": "NoSchedule"}
    compute["tolerations"] = [*compute.get("tolerations", ()), home]
    return {**spec, "compute": compute}


async def pod_of(kube: KubeClient, namespace: str, *, other_than: str = "") -> Object:
    """The newest pod, once there is one."""

    async def look() -> list[Object]:
        return [pod for pod in await kube.items(PODS, namespace) if pod["metadata"]["name"] != other_than]

    return (await eventually(look))[0]


async def tell(kube: KubeClient, pod: Object, phase: str, *containers: Object, **status: Any) -> None:
    """Write the status of a pod, as its kubelet would."""
    metadata = pod["metadata"]
    body = {"phase": phase, "containerStatuses": list(containers)} | status
    await kube.merge(PODS, metadata["name"], {"status": body}, metadata["namespace"], "status")


def container(name: str = CONTAINER_WORKER, *, ready: bool = False, restarts: int = 0, **state: Object) -> Object:
    """The status of a container."""
    fixed = {"name": name, "image": "registry/image", "imageID": "", "ready": ready, "restartCount": restarts}
    return fixed | {"state": state}


def ended(code: int, summary: Summary | None = None, reason: str = "") -> Object:
    """A worker that has ended."""
    message = "" if summary is None else canonical_json(summary).decode()
    how = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "message": message}
    return container(terminated=how)


async def state_of(kube: KubeClient, namespace: str, name: str, *, later: float = 0.0) -> JobState:
    """The Job as decide() would see it, now or later."""
    job = await kube.get(JOBS, name, namespace)
    return job_state(job, await kube.items(PODS, namespace), None, datetime.now(UTC) + timedelta(seconds=later))


async def state_with(
    kube: KubeClient, namespace: str, name: str, *, phase: JobPhase | None = None, reason: Reason | None = None
) -> JobState:
    """The Job, once it is in a phase, or has a problem of this reason."""
    found: list[JobState] = []

    async def look() -> bool:
        found[:] = [await state_of(kube, namespace, name)]
        told = found[0].problem
        return phase in (None, found[0].phase) and reason in (None, told and told.reason)

    try:
        await eventually(look, 40.0)
    except TimeoutError as error:
        raise AssertionError(f"not {phase or reason}: {found}") from error
    return found[0]
