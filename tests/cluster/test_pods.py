"""Pods as they are planned, on a real API server: admitted where *restricted* is enforced, and told why they wait.

No node runs here, but for a stand-in of a moment. The scheduler and the controllers are real; what a kubelet would
write, the test writes.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_GUARD
from plumbline_api.reasons import Reason
from plumbline_operator.kube.workloads.states import deployment_state
from plumbline_operator.observed import DeploymentState, JobPhase
from tests.cluster.client import (
    DEPLOYMENTS,
    JOBS,
    PODS,
    SERVICE_ACCOUNTS,
    ApiError,
    KubeClient,
    Object,
    Resource,
    eventually,
)
from tests.cluster.pods import (
    PLAIN,
    container,
    enforce_restricted,
    make,
    make_job,
    pod_of,
    stand_in_node,
    state_of,
    state_with,
    tell,
)
from tests.support import planned

pytestmark = pytest.mark.cluster

CONFIG_MAPS = Resource("", "v1", "configmaps")
QUOTAS = Resource("", "v1", "resourcequotas")
SERVICES = Resource("", "v1", "services")
TEMPLATES = planned.pod_templates()


@pytest.fixture(name="strict", autouse=True)
async def strict_namespace(kube: KubeClient, namespace: str) -> str:
    """A namespace that refuses whatever is not restricted."""
    await enforce_restricted(kube, namespace)
    return namespace


@pytest.fixture
async def node(kube: KubeClient, strict: str) -> AsyncIterator[str]:
    async with stand_in_node(kube, strict) as name:
        yield name


# Admission


async def test_a_pod_without_our_settings_is_refused_here(kube: KubeClient, strict: str) -> None:
    spec = {"containers": [{"name": "main", "image": "registry/image"}]}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        await kube.create(PODS, {"metadata": {"name": "lax"}, "spec": spec}, strict)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
async def test_every_planned_pod_is_admitted_where_restricted_is_enforced(
    kube: KubeClient, strict: str, template: Mapping[str, Any]
) -> None:
    made = await kube.create(PODS, {"metadata": {"name": "planned"}, "spec": template["spec"]}, strict)
    mounts = [mount for one in made["spec"]["containers"] for mount in one["volumeMounts"]]
    assert not [mount for mount in mounts if "serviceaccount" in mount["mountPath"]], "it has a token"


async def test_the_jobs_controller_makes_the_pod_of_a_planned_job(kube: KubeClient, strict: str) -> None:
    name = await make_job(kube, strict, options={"timeout": "1h"}, compute=planned.COMPUTE)
    job = await kube.get(JOBS, name, strict)
    assert job["spec"]["podReplacementPolicy"] == "Failed"
    assert [rule["action"] for rule in job["spec"]["podFailurePolicy"]["rules"]] == ["Ignore", "Ignore", "FailJob"]
    pod = await pod_of(kube, strict)
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"


async def test_all_that_serves_is_accepted_and_two_revisions_do_not_share_pods(kube: KubeClient, strict: str) -> None:
    places = {
        "ConfigMap": CONFIG_MAPS,
        "Service": SERVICES,
        "Deployment": DEPLOYMENTS,
        "NetworkPolicy": Resource("networking.k8s.io", "v1", "networkpolicies"),
        "PodDisruptionBudget": Resource("policy", "v1", "poddisruptionbudgets"),
    }
    for child in planned.serving(PLAIN, replicas=2):
        await make(kube, strict, places[child.ref.kind], child)
    other = planned.serving(PLAIN, replicas=2, guard={"refusal": {"text": "Never."}})[-1]
    await make(kube, strict, DEPLOYMENTS, other)

    async def look() -> list[Object]:
        pods = await kube.items(PODS, strict)
        return pods if len(pods) == 4 else []

    pods = await eventually(look)
    selector = (await kube.get(DEPLOYMENTS, other.ref.name, strict))["spec"]["selector"]["matchLabels"]
    assert sum(selector.items() <= pod["metadata"]["labels"].items() for pod in pods) == 2


# Why nothing starts


async def test_a_cluster_without_nodes_is_told_so(kube: KubeClient, strict: str) -> None:
    state = await state_with(kube, strict, await make_job(kube, strict), reason=Reason.UNSCHEDULABLE)
    assert (state.phase, state.waiting_since is not None) == (JobPhase.PENDING, True)
    assert state.problem is not None
    assert "there are no nodes" in state.problem.message


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        ({"gpu": {"count": 2}}, "no node has enough nvidia.com/gpu left (2 asked for)"),
        ({"cpu": "64"}, "no node has enough cpu left (64 asked for)"),
        ({"nodeSelector": {"pool": "large"}}, "nodes do not match spec.compute.nodeSelector"),
    ],
)
async def test_the_scheduler_is_understood(
    kube: KubeClient, strict: str, node: str, compute: dict[str, Any], words: str
) -> None:
    name = await make_job(kube, strict, compute=compute)
    state = await state_with(kube, strict, name, reason=Reason.UNSCHEDULABLE)
    assert state.problem is not None
    assert words in state.problem.message, await pod_of(kube, strict)
    assert node not in state.problem.message


@pytest.mark.usefixtures("node")
async def test_a_volume_claim_that_is_not_there_is_told_by_its_name(kube: KubeClient, strict: str) -> None:
    state = await state_with(kube, strict, await make_job(kube, strict, planned.CLUSTER), reason=Reason.VOLUME_MISSING)
    assert state.problem is not None
    assert '"artifacts" not found' in state.problem.message


@pytest.mark.usefixtures("node")
async def test_a_pod_that_waits_for_its_image_keeps_its_job_pending(kube: KubeClient, strict: str) -> None:
    name = await make_job(kube, strict, compute={"cpu": "1"})
    pod = (await pod_of(kube, strict))["metadata"]["name"]
    bound = await kube.until(PODS, pod, strict, lambda found: found["spec"].get("nodeName"))
    said = {"reason": "ErrImagePull", "message": 'failed to resolve reference "r/i": r/i: not found'}
    await tell(kube, bound, "Pending", container(waiting=said))
    state = await state_with(kube, strict, name, reason=Reason.IMAGE_PULL_FAILED)
    assert state.phase == JobPhase.PENDING


@pytest.mark.parametrize("hindrance", ["account", "quota"])
async def test_pods_that_are_never_made_are_told_after_a_while(kube: KubeClient, strict: str, hindrance: str) -> None:
    if hindrance == "quota":
        await kube.create(QUOTAS, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}, strict)
        await kube.until(QUOTAS, "none", strict, lambda quota: quota.get("status", {}).get("hard"))
    else:
        await kube.delete(SERVICE_ACCOUNTS, "trainer", strict)
    name = await make_job(kube, strict)
    await kube.until(JOBS, name, strict, lambda job: job.get("status", {}).get("startTime"))
    assert (await state_of(kube, strict, name)).problem is None
    state = await state_of(kube, strict, name, later=120)
    assert state.problem is not None
    assert (state.phase, state.problem.reason) == (JobPhase.PENDING, Reason.PODS_NOT_CREATED)


async def test_a_queued_job_gets_no_pod_and_waits_for_its_queue(kube: KubeClient, strict: str) -> None:
    name = await make_job(kube, strict, queue={"name": "gpus"})
    await kube.until(JOBS, name, strict, lambda job: job.get("status", {}).get("conditions"))
    state = await state_of(kube, strict, name, later=9000)
    assert state.problem is not None
    assert (state.problem.reason, state.waiting_since) == (Reason.QUEUE_PENDING, None)
    assert await kube.items(PODS, strict) == []


# What is served


async def served(kube: KubeClient, namespace: str, name: str) -> DeploymentState:
    found = await kube.get(DEPLOYMENTS, name, namespace)
    service = await kube.find(SERVICES, "served-guard", namespace)
    return deployment_state(found, await kube.items(PODS, namespace), service, datetime.now(UTC))


async def test_a_served_pod_is_ready_when_guard_and_engine_are(kube: KubeClient, strict: str) -> None:
    children = planned.serving(PLAIN)
    for child in children:
        if child.ref.kind in ("Service", "Deployment"):
            await make(kube, strict, DEPLOYMENTS if child.ref.kind == "Deployment" else SERVICES, child)
    pod = await pod_of(kube, strict)
    both = [container(CONTAINER_GUARD, ready=True, running={}), container(CONTAINER_ENGINE, running={})]
    await tell(kube, pod, "Running", *both)
    state = await served(kube, strict, children[-1].ref.name)
    assert (state.guard_ready, state.engine_ready) == (True, False)
    both[1]["ready"] = True
    await tell(kube, pod, "Running", *both)
    state = await served(kube, strict, children[-1].ref.name)
    assert (state.guard_ready, state.engine_ready) == (True, True)
    assert state.endpoint == f"http://served-guard.{strict}.svc"


async def test_a_deployment_whose_pods_are_refused_says_by_what(kube: KubeClient, strict: str) -> None:
    await kube.create(QUOTAS, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}, strict)
    await kube.until(QUOTAS, "none", strict, lambda quota: quota.get("status", {}).get("hard"))
    name = (await make(kube, strict, DEPLOYMENTS, planned.serving(PLAIN)[-1]))["metadata"]["name"]

    async def look() -> bool:
        return (await served(kube, strict, name)).problem is not None

    await eventually(look)
    problem = (await served(kube, strict, name)).problem
    assert problem is not None
    assert problem.reason == Reason.PODS_NOT_CREATED
    assert "exceeded quota" in problem.message
