"""Stages of several nodes on a real API server: one Indexed Job, pods with names, ends that belong together.

The Job controller is real; what kubelets would write, the tests write.
"""

from datetime import UTC, datetime

import pytest

from plumbline_api.model import format_time
from plumbline_api.names import LABEL_GANG, Kind
from plumbline_api.reasons import Reason
from plumbline_operator.observed import JobPhase
from tests.cluster.client import JOBS, PODS, KubeClient, Object, Resource, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.operating import (
    apply,
    apply_inputs,
    connect,
    finish_job,
    jobs_of,
    running_operator,
    serve_kinds,
    status_where,
)
from tests.cluster.pods import PLAIN, container, ended, enforce_restricted, make, make_job, state_of, state_with, tell
from tests.support import build, planned

pytestmark = pytest.mark.cluster

SERVICES = Resource("", "v1", "services")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")
INDEX = "batch.kubernetes.io/job-completion-index"
RUN = Kind.ALIGNMENT_RUN


async def pods_of(kube: KubeClient, namespace: str, count: int, *gone: Object) -> list[Object]:
    """The pods of the nodes, in their order, once there are so many besides those that are gone."""
    names = {pod["metadata"]["name"] for pod in gone}

    async def look() -> list[Object]:
        found = [pod for pod in await kube.items(PODS, namespace) if pod["metadata"]["name"] not in names]
        return found if len(found) == count else []

    return sorted(await eventually(look, 60.0), key=lambda pod: str(pod["metadata"]["annotations"][INDEX]))


async def begin(kube: KubeClient, *pods: Object) -> None:
    for pod in pods:
        await tell(kube, pod, "Running", container(ready=True, running={}))


@pytest.fixture(name="strict")
async def strict_namespace(kube: KubeClient, namespace: str) -> str:
    """A namespace that refuses whatever is not restricted."""
    await enforce_restricted(kube, namespace)
    return namespace


async def test_every_node_gets_a_pod_with_a_name_and_all_that_it_needs_to_find_the_first(
    kube: KubeClient, strict: str
) -> None:
    places = {"Service": SERVICES, "NetworkPolicy": NETWORK_POLICIES, "Job": JOBS}
    made = {
        child.ref.kind: await make(kube, strict, places[child.ref.kind], child)
        for child in planned.stage(PLAIN, compute={"nodes": 3})
        if child.ref.kind in places
    }
    name = made["Job"]["metadata"]["name"]
    pods = await pods_of(kube, strict, 3)
    assert [pod["spec"]["hostname"] for pod in pods] == [f"{name}-{index}" for index in range(3)]
    assert {pod["spec"]["subdomain"] for pod in pods} == {made["Service"]["metadata"]["name"]}
    first = {entry["name"]: entry.get("value") for entry in pods[0]["spec"]["containers"][0]["env"]}
    assert first["PET_MASTER_ADDR"] == f"{pods[0]['spec']['hostname']}.{pods[0]['spec']['subdomain']}"
    selector = made["Service"]["spec"]["selector"]
    assert made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == selector
    found = await kube.items(PODS, strict, ",".join(f"{key}={value}" for key, value in selector.items()))
    assert len(found) == 3
    assert selector[LABEL_GANG] == name
    assert (await state_of(kube, strict, name)).phase == JobPhase.PENDING
    await begin(kube, *pods[:2])
    assert (await state_of(kube, strict, name)).waiting_since is not None
    await begin(kube, pods[2])
    assert (await state_of(kube, strict, name)).phase == JobPhase.RUNNING


async def test_the_first_nodes_success_is_the_jobs_whatever_the_others_do(kube: KubeClient, strict: str) -> None:
    name = await make_job(kube, strict, compute={"nodes": 2})
    pods = await pods_of(kube, strict, 2)
    await begin(kube, *pods)
    await tell(kube, pods[0], "Succeeded", ended(0, build.training_summary("model")))
    state = await state_with(kube, strict, name, phase=JobPhase.SUCCEEDED)
    assert state.summary == build.training_summary("model")


async def test_a_lost_node_and_those_that_lost_it_are_replaced_and_nothing_is_counted(
    kube: KubeClient, strict: str
) -> None:
    name = await make_job(kube, strict, compute={"nodes": 2})
    pods = await pods_of(kube, strict, 2)
    await begin(kube, *pods)
    now = format_time(datetime.now(UTC))
    lost = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "lastTransitionTime": now}
    await tell(kube, pods[1], "Failed", ended(137), conditions=[lost])
    await tell(kube, pods[0], "Failed", ended(75))
    state = await state_with(kube, strict, name, reason=Reason.NODE_LOST)
    assert (state.phase, state.preempted) == (JobPhase.RUNNING, True)
    assert state.problem is not None
    assert state.problem.message.startswith("node 1 (of 0 to 1)")
    again = await pods_of(kube, strict, 2, *pods)
    assert [pod["spec"]["hostname"] for pod in again] == [pod["spec"]["hostname"] for pod in pods]
    await begin(kube, *again)
    state = await state_with(kube, strict, name, phase=JobPhase.RUNNING)
    assert (state.problem, state.preempted) == (None, False)
    assert not (await kube.get(JOBS, name, strict))["status"].get("failedIndexes")


async def test_a_fatal_end_of_one_node_fails_the_job_at_once_and_names_it(kube: KubeClient, strict: str) -> None:
    name = await make_job(kube, strict, compute={"nodes": 3})
    pods = await pods_of(kube, strict, 3)
    await begin(kube, *pods)
    await tell(kube, pods[2], "Failed", ended(65))
    state = await state_with(kube, strict, name, phase=JobPhase.FAILED, reason=Reason.BAD_DATA)
    assert state.problem is not None
    assert state.problem.message.startswith("node 2 (of 0 to 2)")


async def test_a_run_of_several_nodes_succeeds_and_what_was_made_goes_with_it(
    control_plane: ControlPlane, kube: KubeClient, strict: str
) -> None:
    await serve_kinds(kube)
    await apply_inputs(kube, strict)
    async with running_operator(connect(control_plane), strict):
        await apply(kube, strict, build.run(compute={"nodes": 2}))
        (job,) = await jobs_of(kube, strict)
        name = job["metadata"]["name"]
        service = await kube.get(SERVICES, name, strict)
        assert service["metadata"]["ownerReferences"][0]["kind"] == RUN
        await begin(kube, *await pods_of(kube, strict, 2))
        run = await status_where(kube, strict, RUN, "base", phase="Running")
        assert run["status"]["stages"][0]["job"] == name
        await kube.delete(SERVICES, name, strict)
        await kube.until(SERVICES, name, strict, lambda found: found["metadata"]["uid"] != service["metadata"]["uid"])
        await finish_job(kube, strict, name, build.training_summary("model"), index=0)
        await status_where(kube, strict, RUN, "base", phase="Succeeded")
        await kube.delete(KINDS[RUN], "base", strict, propagation="Foreground")

        async def nothing_is_left() -> bool:
            places = (JOBS, SERVICES, NETWORK_POLICIES, PODS)
            return not [one for place in places for one in await kube.items(place, strict)]

        await eventually(nothing_is_left, 60.0)
