"""How Jobs as they are planned end on a real API server: by their conditions, with a reason, disruptions uncounted.

The Job controller and the scheduler are real; what a kubelet would write, the test writes.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from plumbline_api.model import format_time
from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_MODEL
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_operator.kube.workloads.states import job_state
from plumbline_operator.observed import JobPhase
from tests.cluster.client import JOBS, PODS, ApiError, KubeClient, Resource, eventually
from tests.cluster.pods import (
    PLAIN,
    container,
    ended,
    enforce_restricted,
    make,
    make_job,
    pod_of,
    pod_spec,
    stand_in_node,
    state_of,
    state_with,
    tell,
)
from tests.support import build, planned

pytestmark = pytest.mark.cluster

PRIORITIES = Resource("scheduling.k8s.io", "v1", "priorityclasses", namespaced=False)


@pytest.fixture(name="strict", autouse=True)
async def strict_namespace(kube: KubeClient, namespace: str) -> str:
    """A namespace that refuses whatever is not restricted."""
    await enforce_restricted(kube, namespace)
    return namespace


@pytest.fixture
async def node(kube: KubeClient, strict: str) -> AsyncIterator[str]:
    async with stand_in_node(kube, strict) as name:
        yield name


async def test_a_summary_makes_a_success_and_counters_are_believed_by_nobody(kube: KubeClient, strict: str) -> None:
    name = await make_job(kube, strict)
    first = await pod_of(kube, strict)
    await tell(kube, first, "Failed", ended(70))
    await kube.until(JOBS, name, strict, lambda job: job["status"].get("failed") == 1)
    assert (await state_of(kube, strict, name)).phase == JobPhase.RUNNING
    second = await pod_of(kube, strict, other_than=first["metadata"]["name"])
    await tell(kube, second, "Succeeded", ended(0, build.training_summary("model")))
    state = await state_with(kube, strict, name, phase=JobPhase.SUCCEEDED)
    assert state.summary == build.training_summary("model")


@pytest.mark.parametrize(
    ("code", "reason"),
    [(64, Reason.BAD_SPEC), (65, Reason.BAD_DATA), (77, Reason.NOT_PERMITTED), (78, Reason.BAD_CONFIGURATION)],
)
async def test_a_fatal_exit_code_fails_the_job_at_once_and_is_told_also_without_its_pod(
    kube: KubeClient, strict: str, code: int, reason: Reason
) -> None:
    name = await make_job(kube, strict)
    await tell(kube, await pod_of(kube, strict), "Failed", ended(code))
    state = await state_with(kube, strict, name, phase=JobPhase.FAILED, reason=reason)
    job = await kube.get(JOBS, name, strict)
    assert {one["reason"] for one in job["status"]["conditions"] if one["status"] == "True"} == {"PodFailurePolicy"}
    gone = job_state(job, [], None, datetime.now(UTC))
    assert gone.problem is not None
    assert state.problem is not None
    assert (gone.phase, gone.problem.reason) == (JobPhase.FAILED, state.problem.reason)


async def test_a_killed_sidecar_is_told_as_what_ended_the_worker(kube: KubeClient, strict: str) -> None:
    made = await make(kube, strict, JOBS, planned.evaluation(PLAIN)[-1])
    starved = container(CONTAINER_ENGINE, restarts=1, running={"startedAt": format_time(datetime.now(UTC))})
    starved["lastState"] = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    pod = await pod_of(kube, strict)
    await tell(kube, pod, "Failed", ended(65), initContainerStatuses=[starved])
    await state_with(kube, strict, made["metadata"]["name"], phase=JobPhase.FAILED, reason=Reason.OUT_OF_MEMORY)


async def test_a_model_that_is_not_given_out_fails_the_evaluation_at_once(kube: KubeClient, strict: str) -> None:
    made = await make(kube, strict, JOBS, planned.evaluation(PLAIN, engine=planned.VLLM)[-1])
    refusal = Summary(result=Result.FAILED, reason=Reason.SIGNATURE_INVALID, message="model x is not signed; sign it")
    failed = ended(65, refusal) | {"name": CONTAINER_MODEL}
    waiting = container(waiting={"reason": "PodInitializing"})
    await tell(kube, await pod_of(kube, strict), "Failed", waiting, initContainerStatuses=[failed])
    name = made["metadata"]["name"]
    state = await state_with(kube, strict, name, phase=JobPhase.FAILED, reason=Reason.SIGNATURE_INVALID)
    assert state.problem is not None
    assert "model x is not signed; sign it" in state.problem.message
    job = await kube.get(JOBS, name, strict)
    assert {one["reason"] for one in job["status"]["conditions"] if one["status"] == "True"} == {"PodFailurePolicy"}


@pytest.mark.parametrize("how", ["told to stop", "disrupted"])
async def test_what_does_not_count_is_tried_again_and_leaves_no_mark(kube: KubeClient, strict: str, how: str) -> None:
    name = await make_job(kube, strict)
    pod = await pod_of(kube, strict)
    if how == "disrupted":
        now = format_time(datetime.now(UTC))
        lost = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "lastTransitionTime": now}
        await tell(kube, pod, "Failed", ended(65), conditions=[lost])
    else:
        await tell(kube, pod, "Failed", ended(75))
    reason = Reason.NODE_LOST if how == "disrupted" else Reason.PREEMPTED
    assert (await state_with(kube, strict, name, reason=reason)).preempted
    second = await pod_of(kube, strict, other_than=pod["metadata"]["name"])
    await tell(kube, second, "Running", container(ready=True, running={}), conditions=[])
    state = await state_with(kube, strict, name, phase=JobPhase.RUNNING)
    assert (state.problem, state.preempted) == (None, False)
    assert "failed" not in (await kube.get(JOBS, name, strict))["status"]


@pytest.mark.usefixtures("node")
async def test_an_eviction_through_the_api_is_told_and_no_failure(kube: KubeClient, strict: str) -> None:
    name = await make_job(kube, strict, compute={"cpu": "1"})
    pod = (await pod_of(kube, strict))["metadata"]["name"]
    bound = await kube.until(PODS, pod, strict, lambda found: found["spec"].get("nodeName"))
    await tell(kube, bound, "Running", container(ready=True, running={}))
    await kube.call("POST", PODS.path(strict, pod, "eviction"), {"metadata": {"name": pod, "namespace": strict}})
    state = await state_with(kube, strict, name, reason=Reason.EVICTED)
    assert (state.phase, state.preempted) == (JobPhase.RUNNING, True)
    await tell(kube, bound, "Failed", ended(75))
    await kube.call("DELETE", PODS.path(strict, pod), {"gracePeriodSeconds": 0})
    await pod_of(kube, strict, other_than=pod)
    assert "failed" not in (await kube.get(JOBS, name, strict))["status"]


@pytest.mark.usefixtures("node")
async def test_a_pod_that_makes_room_for_another_is_told_and_no_failure(kube: KubeClient, strict: str) -> None:
    name = await make_job(kube, strict, compute={"cpu": "3"})
    pod = (await pod_of(kube, strict))["metadata"]["name"]
    bound = await kube.until(PODS, pod, strict, lambda found: found["spec"].get("nodeName"))
    await tell(kube, bound, "Running", container(ready=True, running={}))
    await kube.create(PRIORITIES, {"metadata": {"name": f"urgent-{strict}"}, "value": 1000})
    spec = pod_spec(strict, compute={"cpu": "3"}) | {"priorityClassName": f"urgent-{strict}"}

    async def make_urgent() -> bool:
        # Admission learns of a new class a moment after the API has it.
        try:
            await kube.create(PODS, {"metadata": {"name": "urgent"}, "spec": spec}, strict)
        except ApiError as error:
            if "no PriorityClass" not in str(error):
                raise
            return False
        return True

    await eventually(make_urgent)
    state = await state_with(kube, strict, name, reason=Reason.PREEMPTED)
    assert (state.phase, state.preempted) == (JobPhase.RUNNING, True)
    assert state.problem is not None
    assert "higher priority" in state.problem.message
    await kube.delete(PRIORITIES, f"urgent-{strict}")


async def test_a_deadline_is_told_whatever_became_of_the_pods(kube: KubeClient, strict: str) -> None:
    name = await make_job(kube, strict, options={"timeout": "1s"})
    await state_with(kube, strict, name, phase=JobPhase.FAILED, reason=Reason.DEADLINE_EXCEEDED)


async def test_a_job_that_is_deleted_while_it_runs_is_seen_to_go(kube: KubeClient, strict: str) -> None:
    name = await make_job(kube, strict)
    await tell(kube, await pod_of(kube, strict), "Running", container(ready=True, running={}))
    await kube.delete(JOBS, name, strict, "Foreground")
    assert (await state_of(kube, strict, name)).deleting
