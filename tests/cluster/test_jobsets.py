"""Stages of several nodes where a cluster has JobSets: with the real API server and JobSet's own controller.

What kubelets would write, the tests write.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from plumbline_api.model import format_time
from plumbline_api.names import Kind
from plumbline_api.reasons import Reason
from plumbline_operator.kube.assembly import Operator
from plumbline_operator.kube.workloads.jobsets import job_set_state
from plumbline_operator.observed import JobPhase, JobState
from tests.cluster.client import JOBS, PODS, KubeClient, Object, Resource, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.jobsets import JOB_SETS, controller_process, install_job_sets, remove_job_sets, removed
from tests.cluster.operating import (
    apply,
    apply_inputs,
    children,
    connect,
    finish_job,
    jobs_of,
    running_operator,
    serve_kinds,
    status_where,
)
from tests.cluster.pods import PLAIN, container, ended, enforce_restricted, make, tell
from tests.cluster.proxy import proxy
from tests.cluster.test_nodes import begin, pods_of
from tests.support import build, planned

pytestmark = pytest.mark.cluster

SERVICES = Resource("", "v1", "services")
RUN = Kind.ALIGNMENT_RUN
AWAY = (503, {"reason": "ServiceUnavailable", "message": "apiserver not ready"})
TWO = build.run(compute={"nodes": 2})


@pytest.fixture(scope="module")
def webhooks(control_plane: ControlPlane) -> Iterator[int]:
    """JobSets are served for the time of this module: other tests of this control plane know nothing of them."""
    with controller_process(control_plane) as port:
        yield port
        remove_job_sets(control_plane)


@pytest.fixture(autouse=True)
async def served(kube: KubeClient, control_plane: ControlPlane, webhooks: int) -> None:
    await install_job_sets(kube, control_plane, webhooks)


async def make_set(kube: KubeClient, namespace: str, nodes: int = 2, **more: Any) -> str:
    """Create the JobSet of a stage; its name."""
    runtime = replace(PLAIN, job_sets=True)
    made = await make(kube, namespace, JOB_SETS, planned.stage(runtime, compute={"nodes": nodes}, **more)[-1])
    return str(made["metadata"]["name"])


async def state_of(kube: KubeClient, namespace: str, name: str) -> JobState:
    found = await kube.get(JOB_SETS, name, namespace)
    jobs, pods = await kube.items(JOBS, namespace), await kube.items(PODS, namespace)
    return job_set_state(found, jobs, pods, None, datetime.now(UTC))


async def state_with(
    kube: KubeClient, namespace: str, name: str, phase: JobPhase, reason: Reason | None = None
) -> JobState:
    found: list[JobState] = []

    async def look() -> bool:
        found[:] = [await state_of(kube, namespace, name)]
        told = found[0].problem
        return found[0].phase == phase and reason in (None, told and told.reason)

    try:
        await eventually(look, 60.0)
    except TimeoutError as error:
        raise AssertionError(f"not {phase} {reason}: {found}") from error
    return found[0]


async def restarts(kube: KubeClient, namespace: str, name: str, count: int) -> Object:
    """The JobSet, once it has begun anew so often."""
    return await kube.until(JOB_SETS, name, namespace, lambda one: one["status"].get("restarts", 0) == count, 60.0)


async def test_a_job_set_passes_restricted_and_its_pods_have_the_names_that_they_are_told(
    kube: KubeClient, namespace: str
) -> None:
    await enforce_restricted(kube, namespace)
    name = await make_set(kube, namespace)
    pods = await pods_of(kube, namespace, 2)
    first = {entry["name"]: entry.get("value") for entry in pods[0]["spec"]["containers"][0]["env"]}
    assert first["PET_MASTER_ADDR"] == f"{pods[0]['spec']['hostname']}.{pods[0]['spec']['subdomain']}"
    service = await kube.get(SERVICES, pods[0]["spec"]["subdomain"], namespace)
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert service["spec"]["selector"].items() <= pods[1]["metadata"]["labels"].items()
    assert (await state_of(kube, namespace, name)).phase == JobPhase.PENDING
    await begin(kube, *pods)
    assert (await state_of(kube, namespace, name)).phase == JobPhase.RUNNING
    await tell(kube, pods[0], "Succeeded", ended(0, build.training_summary("model")))
    state = await state_with(kube, namespace, name, JobPhase.SUCCEEDED)
    assert state.summary == build.training_summary("model")


async def test_a_crash_begins_all_anew_and_the_fourth_is_the_last(kube: KubeClient, namespace: str) -> None:
    await enforce_restricted(kube, namespace)
    name = await make_set(kube, namespace)
    seen: list[Object] = []
    for attempt in range(4):
        pods = await pods_of(kube, namespace, 2, *seen)
        await begin(kube, *pods)
        await tell(kube, pods[1], "Failed", ended(70))
        seen += pods
        if attempt < 3:
            found = await restarts(kube, namespace, name, attempt + 1)
            assert found["status"]["restartsCountTowardsMax"] == attempt + 1
    state = await state_with(kube, namespace, name, JobPhase.FAILED, Reason.BACKOFF_EXCEEDED)
    assert state.problem is not None
    assert state.problem.message.startswith("node 1 (of 0 to 1)")
    assert "attempt 4, the last" in state.problem.message


async def test_a_disruption_begins_all_anew_and_is_not_counted(kube: KubeClient, namespace: str) -> None:
    await enforce_restricted(kube, namespace)
    name = await make_set(kube, namespace)
    pods = await pods_of(kube, namespace, 2)
    await begin(kube, *pods)
    now = format_time(datetime.now(UTC))
    lost = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "lastTransitionTime": now}
    await tell(kube, pods[0], "Failed", ended(137), conditions=[lost])
    assert not (await restarts(kube, namespace, name, 1))["status"].get("restartsCountTowardsMax")
    again = await pods_of(kube, namespace, 2, *pods)
    assert (await state_of(kube, namespace, name)).phase == JobPhase.RUNNING
    await begin(kube, *again)
    assert (await state_with(kube, namespace, name, JobPhase.RUNNING)).problem is None


async def test_a_lost_peer_is_replaced_and_a_fatal_end_fails_the_set_at_once(kube: KubeClient, namespace: str) -> None:
    await enforce_restricted(kube, namespace)
    name = await make_set(kube, namespace)
    pods = await pods_of(kube, namespace, 2)
    await begin(kube, *pods)
    await tell(kube, pods[1], "Failed", ended(75))
    assert (await state_with(kube, namespace, name, JobPhase.RUNNING, Reason.PREEMPTED)).preempted
    _, again = await pods_of(kube, namespace, 2, pods[1])
    await tell(kube, again, "Running", container(ready=True, running={}))
    await tell(kube, pods[0], "Failed", ended(65))
    state = await state_with(kube, namespace, name, JobPhase.FAILED, Reason.BAD_DATA)
    assert state.problem is not None
    assert "node 0 (of 0 to 1)" in state.problem.message
    assert not (await kube.get(JOB_SETS, name, namespace))["status"].get("restarts")


async def test_a_queue_holds_the_set_and_nothing_below_it_knows(kube: KubeClient, namespace: str) -> None:
    await enforce_restricted(kube, namespace)
    name = await make_set(kube, namespace, queue={"name": "gpus"})
    (job,) = await jobs_of(kube, namespace)
    assert job["spec"]["suspend"] is True
    assert not any(label.startswith("kueue") for label in job["metadata"]["labels"])
    state = await state_with(kube, namespace, name, JobPhase.PENDING, Reason.QUEUE_PENDING)
    assert state.waiting_since is None
    await kube.merge(JOB_SETS, name, {"spec": {"suspend": False}}, namespace)
    await pods_of(kube, namespace, 2)


async def uses_job_sets(operator: Operator, *, wanted: bool = True) -> None:
    """Return once the operator has noticed."""

    async def look() -> bool:
        return operator.job_sets.usable() is wanted

    await eventually(look, 60.0)


async def test_the_operator_makes_a_job_set_and_the_runs_end_is_its_end(
    kube: KubeClient, namespace: str, control_plane: ControlPlane
) -> None:
    await serve_kinds(kube)
    await apply_inputs(kube, namespace)
    async with running_operator(connect(control_plane), namespace) as operator:
        assert operator.job_sets.usable()
        (run,) = await apply(kube, namespace, TWO)
        (job,) = await jobs_of(kube, namespace)
        (made,) = await kube.items(JOB_SETS, namespace)
        assert job["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
        await begin(kube, *await pods_of(kube, namespace, 2))
        running = await status_where(kube, namespace, RUN, "base", phase="Running")
        assert running["status"]["stages"][0]["job"] == made["metadata"]["name"]
        await finish_job(kube, namespace, job["metadata"]["name"], build.training_summary("model"), index=0)
        await status_where(kube, namespace, RUN, "base", phase="Succeeded")
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (run["metadata"]["uid"], True)


async def test_what_a_job_set_made_is_found_while_no_word_comes_of_its_job_and_pods(
    kube: KubeClient, namespace: str, control_plane: ControlPlane
) -> None:
    await serve_kinds(kube)
    await apply_inputs(kube, namespace)
    async with proxy(control_plane) as gateway:
        gateway.refuse = lambda what: AWAY if what.watch and what.path.endswith(("/pods", "/jobs")) else None
        async with running_operator(gateway.login(), namespace) as operator:
            assert operator.job_sets.usable()
            await apply(kube, namespace, TWO)
            (job,) = await jobs_of(kube, namespace)
            await begin(kube, *await pods_of(kube, namespace, 2))
            await finish_job(kube, namespace, job["metadata"]["name"], build.training_summary("model"), index=0)
            await status_where(kube, namespace, RUN, "base", phase="Succeeded")


async def test_job_sets_that_come_and_go_are_noticed_and_what_was_begun_goes_on(
    kube: KubeClient, namespace: str, control_plane: ControlPlane, webhooks: int
) -> None:
    remove_job_sets(control_plane)
    await eventually(lambda: removed(kube))
    await serve_kinds(kube)
    await apply_inputs(kube, namespace)
    async with running_operator(connect(control_plane), namespace) as operator:
        assert not operator.job_sets.usable()
        await apply(kube, namespace, TWO)
        (job,) = await jobs_of(kube, namespace)
        await install_job_sets(kube, control_plane, webhooks)
        await uses_job_sets(operator)
        await begin(kube, *await pods_of(kube, namespace, 2))
        await status_where(kube, namespace, RUN, "base", phase="Running")
        assert await kube.items(JOB_SETS, namespace) == []
        await apply(kube, namespace, build.run("later", compute={"nodes": 2}))

        async def made() -> list[Object]:
            return await kube.items(JOB_SETS, namespace)

        await eventually(made, 60.0)
        remove_job_sets(control_plane)
        await uses_job_sets(operator, wanted=False)

        async def plain() -> bool:
            return len((await children(kube, namespace))["jobs"]) == 2

        await eventually(plain, 60.0)
        assert (await kube.get(JOBS, job["metadata"]["name"], namespace))["metadata"]["uid"] == job["metadata"]["uid"]


async def test_job_sets_are_not_used_where_the_settings_forbid_it(
    kube: KubeClient, namespace: str, control_plane: ControlPlane
) -> None:
    await serve_kinds(kube)
    await apply_inputs(kube, namespace)
    async with running_operator(connect(control_plane), namespace, job_sets=False):
        await apply(kube, namespace, TWO)
        (job,) = await jobs_of(kube, namespace)
        assert job["metadata"]["ownerReferences"][0]["kind"] == RUN
