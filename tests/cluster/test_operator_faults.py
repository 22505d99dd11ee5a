"""Faults that need a look inside the operator, or at single calls; all others are in the folder faults."""

import asyncio

import pytest

from plumbline_api.names import Kind
from plumbline_operator.kube.api.resources import PODS as PODS_SEEN
from plumbline_operator.kube.assembly import Operator
from plumbline_operator.observed import Key
from tests.cluster.client import EVENTS, JOBS, PODS, KubeClient, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.operating import (
    apply,
    apply_inputs,
    children,
    finish_job,
    jobs_of,
    running_operator,
    serve_kinds,
    status_where,
)
from tests.cluster.proxy import Passed, Refusal, proxy
from tests.support import build

pytestmark = pytest.mark.cluster

RUN = Kind.ALIGNMENT_RUN
RUNS = KINDS[RUN]
STAGES = 2


@pytest.fixture(autouse=True)
async def kinds(kube: KubeClient) -> None:
    await serve_kinds(kube)


async def live(kube: KubeClient, namespace: str, name: str = "base") -> None:
    """A whole run: both Jobs end well."""
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run(name, stages=STAGES))
    known: set[str] = set()
    for number in range(STAGES):
        jobs = {job["metadata"]["name"] for job in await jobs_of(kube, namespace, number + 1)}
        (fresh,) = jobs - known
        known = jobs
        await finish_job(kube, namespace, fresh, build.training_summary(f"stage {number}"))
    await status_where(kube, namespace, RUN, name, phase="Succeeded")
    found = await children(kube, namespace)
    assert len(found["jobs"]) == len(found["configmaps"]) == STAGES


CONFLICT = (409, {"reason": "Conflict", "message": "the object has been modified"})
BROKEN = (500, {"reason": "InternalError", "message": "etcdserver: request timed out"})


async def until_quiet(operator: Operator) -> None:
    async def is_quiet() -> bool:
        await asyncio.sleep(0.3)
        return operator.queue.depth == operator.queue.working == 0

    await eventually(is_quiet)


async def test_a_new_status_of_another_writer_is_not_written_over(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    """The operator is told too late of a change: its write is refused, and what it writes then knows the change."""
    await apply_inputs(kube, namespace)
    async with proxy(control_plane) as gateway, running_operator(gateway.login(), namespace):
        seen: list[Passed] = []

        def change_first(what: Passed) -> Refusal | None:
            if what.path.endswith("/base/status") and not seen:
                seen.append(what)
                raised = {"metadata": {"annotations": {"plumbline.dev/retry": "now"}}}
                asyncio.get_running_loop().create_task(kube.merge(RUNS, "base", raised, namespace))
                return CONFLICT
            return None

        gateway.refuse = change_first
        await apply(kube, namespace, build.run())
        run = await status_where(kube, namespace, RUN, "base", retry="now")
        assert len(await kube.items(JOBS, namespace)) == 1
        assert run["status"]["attempt"] == 1
        conflicts = [what for what, status in gateway.passed if status == 409 and what.path.endswith("/status")]
        assert conflicts


async def test_an_event_that_is_refused_hinders_nothing(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    async with proxy(control_plane) as gateway:
        gateway.refuse = lambda what: BROKEN if "events.k8s.io" in what.path else None
        async with running_operator(gateway.login(), namespace) as operator:
            await live(kube, namespace)
            await until_quiet(operator)
            assert operator.events.dropped >= 1
    ours = [one for one in await kube.items(EVENTS, namespace) if one["involvedObject"]["kind"] == RUN]
    assert ours == []


def is_read(what: Passed, plural: str) -> bool:
    return what.method == "GET" and not what.watch and what.path.endswith(f"/{plural}")


async def test_what_a_job_made_is_found_while_no_word_comes_of_its_pod(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    """Its own watch tells that it has succeeded; the watch of pods is broken all the time."""
    async with proxy(control_plane) as gateway:
        gateway.refuse = lambda what: BROKEN if what.watch and what.path.endswith("/pods") else None
        async with running_operator(gateway.login(), namespace) as operator:
            assert operator.cache.count(PODS_SEEN) == 0
            await live(kube, namespace)


async def test_a_pod_that_is_really_gone_is_looked_for_once(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    await apply_inputs(kube, namespace)
    async with proxy(control_plane) as gateway:
        async with running_operator(gateway.login(), namespace):
            await apply(kube, namespace, build.run())
            (job,) = await jobs_of(kube, namespace)
        name = job["metadata"]["name"]
        await finish_job(kube, namespace, name, build.training_summary("stage 0"))
        await kube.until(JOBS, name, namespace, lambda one: bool(one["status"].get("completionTime")))
        (pod,) = await kube.items(PODS, namespace)
        await kube.delete(PODS, pod["metadata"]["name"], namespace)
        gateway.passed.clear()
        async with running_operator(gateway.login(), namespace) as operator:
            run = await status_where(kube, namespace, RUN, "base", phase="Failed")
            operator.queue.add(Key(RUN, namespace, "base"))
            await until_quiet(operator)
    assert "its pod is gone" in run["status"]["stages"][0]["message"]
    assert len([what for what, _ in gateway.passed if is_read(what, "pods")]) == 2, "the watch's list, and one more"
