"""Deleted, suspended, cleaned up and retried in the middle of everything: what is asked for happens, and once."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from plumbline_api.names import LABEL_MANAGED_BY, LABEL_STAGE, LABEL_SUITE, RETRY_ANNOTATION, Kind
from plumbline_api.report import Result, Summary
from tests.cluster.client import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    KubeClient,
    Object,
    Resource,
    eventually,
)
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.faults.ledger import Fault
from tests.cluster.faults.life import NAMES, Life
from tests.cluster.faults.nodes import Nodes
from tests.cluster.faults.quick import Orders, quick_operator
from tests.cluster.faults.witness import Witness
from tests.cluster.operating import apply, apply_inputs, condition_of, finish_job, jobs_of
from tests.cluster.proxy import proxy
from tests.support import build

pytestmark = pytest.mark.cluster

RUN = Kind.ALIGNMENT_RUN
RUNS = KINDS[RUN]
Opener = Callable[[str, str], Fault]
Times = Callable[[int, int], int]
SERVICES, POLICIES, BUDGETS = (
    Resource("", "v1", "services"),
    Resource("networking.k8s.io", "v1", "networkpolicies"),
    Resource("policy", "v1", "poddisruptionbudgets"),
)
REPLICA_SETS = Resource("apps", "v1", "replicasets")
CHILDREN = (JOBS, CONFIG_MAPS, PODS, DEPLOYMENTS, REPLICA_SETS, SERVICES, POLICIES, BUDGETS)
MOMENTS: dict[str, Callable[[Object], bool]] = {
    "a stage at work": lambda pod: LABEL_STAGE in pod["metadata"]["labels"],
    "an evaluation at work": lambda pod: LABEL_SUITE in pod["metadata"]["labels"],
    "serving": lambda _: False,
}


async def left(kube: KubeClient, namespace: str) -> list[str]:
    """What is there of ours and of our children."""
    ours = [(resource, "") for resource in KINDS.values()]
    children = [(resource, f"{LABEL_MANAGED_BY}=plumbline") for resource in CHILDREN]
    return [
        f"{resource.plural}/{one['metadata']['name']}"
        for resource, selector in (*ours, *children)
        for one in await kube.items(resource, namespace, selector)
    ]


async def brought_to(moment: str, life: Life, played: Nodes, fault: Fault) -> None:
    """Let a life come to a moment, and no further."""
    jobs = {"a stage at work": 1, "an evaluation at work": 4}.get(moment, 0)
    await (jobs_of(life.kube, life.namespace, jobs) if jobs else life.ended())
    if jobs:
        pods = await eventually(lambda: running_pods(life.kube, life.namespace), 60)
        assert pods
    for kind, name in NAMES.items():
        assert not (await life.kube.get(KINDS[kind], name, life.namespace))["metadata"].get("finalizers")
    fault.count(struck=1, objects=len(NAMES))


async def running_pods(kube: KubeClient, namespace: str) -> list[Object]:
    return [pod for pod in await kube.items(PODS, namespace) if pod["status"]["phase"] == "Running"]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_whatever_is_deleted_leaves_nothing_at_any_moment(
    control_plane: ControlPlane,
    kube: KubeClient,
    witness: Witness,
    played: Nodes,
    open_fault: Opener,
    times: Times,
    tmp_path: Path,
    moment: str,
) -> None:
    async def delete(life: Life, propagation: str) -> None:
        for kind, name in NAMES.items():
            await kube.delete(KINDS[kind], name, life.namespace, propagation)

    async def delete_namespace(life: Life, _: str) -> None:
        await life.clear()

    async def live(how: str, fault: Fault) -> None:
        async with proxy(control_plane) as gateway:
            life = await Life.begin(kube, witness)
            orders = Orders(gateway.url, life.namespace, check_permissions=False)
            with quick_operator(tmp_path, orders, life.namespace) as operator:
                await brought_to(moment, life, played, fault)
                await (delete_namespace if how == "namespace" else delete)(life, how)

                async def is_gone() -> bool:
                    return not await left(kube, life.namespace)

                await eventually(is_gone, 120)
                await asyncio.sleep(1.0)
                fault.count(lost=len(await left(kube, life.namespace)))
                assert operator.running
                assert not [line for line in operator.lines() if line["level"] == "error"]
            if how == "namespace":
                await eventually(lambda: namespace_gone(kube, life.namespace), 120)
            else:
                await life.clear()

    played.at_work = MOMENTS[moment]
    ways = ("Background", "Foreground", "namespace")
    faults = {how: open_fault("deleted while at work", f"all kinds, {how}") for how in ways}
    for _ in range(times(1, 5)):
        await asyncio.gather(*(live(how, fault) for how, fault in faults.items()))
    for fault in faults.values():
        fault.check()


async def namespace_gone(kube: KubeClient, namespace: str) -> bool:
    return await kube.find(NAMESPACES, namespace) is None


async def phase_is(kube: KubeClient, namespace: str, phase: str) -> Object:
    return await kube.until(RUNS, "base", namespace, lambda run: run["status"].get("phase") == phase, 120)


async def test_a_suspended_run_has_no_job_until_it_is_resumed_over_crashes_too(
    control_plane: ControlPlane,
    kube: KubeClient,
    witness: Witness,
    played: Nodes,
    namespace: str,
    open_fault: Opener,
    times: Times,
    tmp_path: Path,
) -> None:
    fault = open_fault("suspended, killed, resumed", "a stage at work")
    await apply_inputs(kube, namespace)
    played.at_work = lambda _: True
    async with proxy(control_plane) as gateway:
        orders = Orders(gateway.url, namespace, check_permissions=False)
        with quick_operator(tmp_path, orders) as operator:
            await apply(kube, namespace, build.run(stages=2))
            await jobs_of(kube, namespace)
            await operator.until_logged("at work")
        for number in range(times(2, 20)):
            (job,) = await jobs_of(kube, namespace)
            with quick_operator(tmp_path, orders, f"suspending-{number}") as operator:
                await kube.merge(RUNS, "base", {"spec": {"suspend": True}}, namespace)
                run = await phase_is(kube, namespace, "Suspended")
                assert condition_of(run, "Suspended")["status"] == "True"
                await eventually(lambda: no_jobs(kube, namespace), 60)
            with quick_operator(tmp_path, orders, f"resuming-{number}") as operator:
                await operator.until_logged("at work")
                await asyncio.sleep(0.5)
                assert await kube.items(JOBS, namespace) == []
                await kube.merge(RUNS, "base", {"spec": {"suspend": False}}, namespace)
                (again,) = await jobs_of(kube, namespace)
                assert again["metadata"]["name"] == job["metadata"]["name"]
                assert again["metadata"]["uid"] != job["metadata"]["uid"]
            fault.count(struck=1, objects=1)
        played.at_work = lambda _: False
        with quick_operator(tmp_path, orders, "last"):
            run = await phase_is(kube, namespace, "Succeeded")
    assert run["status"]["attempt"] == 1
    fault.check()


async def no_jobs(kube: KubeClient, namespace: str) -> bool:
    return not await kube.items(JOBS, namespace)


async def test_children_whose_time_is_over_go_once_and_their_run_stays_succeeded(
    control_plane: ControlPlane,
    kube: KubeClient,
    witness: Witness,
    namespace: str,
    open_fault: Opener,
    times: Times,
    tmp_path: Path,
) -> None:
    """The operator is killed when the run has ended, and the time is over while none is there."""
    fault = open_fault("time to live over while no operator is there", "a run that has ended")
    await apply_inputs(kube, namespace)
    names = [f"run-{number}" for number in range(times(2, 20))]
    async with proxy(control_plane) as gateway:
        orders = Orders(gateway.url, namespace, check_permissions=False)
        with quick_operator(tmp_path, orders):
            await apply(kube, namespace, *(build.run(name, ttlSecondsAfterFinished=3) for name in names))
            assert await witness.until(lambda: all(is_over(witness, namespace, name) for name in names), 120)
        await asyncio.sleep(3.5)
        with quick_operator(tmp_path, orders, "next") as operator:
            await eventually(lambda: no_jobs(kube, namespace), 60)
            await operator.until_logged("at work")
            await asyncio.sleep(1.0)
    still = [name for name in names if is_over(witness, namespace, name)]
    fault.count(struck=1, objects=len(names), duplicates=witness.duplicates(namespace), lost=len(names) - len(still))
    assert await no_jobs(kube, namespace)
    fault.check()


def is_over(witness: Witness, namespace: str, name: str) -> bool:
    return witness.status(namespace, RUN, name).get("phase") == "Succeeded"


def is_tried(attempt: int, run: Object) -> bool:
    return bool(run["status"]["attempt"] == attempt)


async def test_a_retry_is_acted_upon_once_however_often_the_operator_is_killed(
    control_plane: ControlPlane,
    kube: KubeClient,
    namespace: str,
    open_fault: Opener,
    times: Times,
    tmp_path: Path,
) -> None:
    """No nodes play here: the test lets Jobs fail itself."""
    fault = open_fault("killed around a retry", "a run that has failed")
    await apply_inputs(kube, namespace)
    bad = Summary(result=Result.FAILED, message="rows.jsonl:7: chosen equals rejected; correct the row")
    async with proxy(control_plane) as gateway:
        orders = Orders(gateway.url, namespace, check_permissions=False)
        await apply(kube, namespace, build.run())
        tries = times(2, 20)
        for number in range(1, tries + 1):
            with quick_operator(tmp_path, orders, f"failing-{number}"):
                jobs = await jobs_of(kube, namespace, number)
                (fresh,) = [job for job in jobs if not job["status"].get("conditions")]
                await finish_job(kube, namespace, fresh["metadata"]["name"], bad, code=65)
                await phase_is(kube, namespace, "Failed")
            await kube.merge(RUNS, "base", {"metadata": {"annotations": {RETRY_ANNOTATION: str(number)}}}, namespace)
            for turn in range(2):
                with quick_operator(tmp_path, orders, f"retrying-{number}-{turn}") as operator:
                    run = await kube.until(RUNS, "base", namespace, partial(is_tried, number + 1), 60)
                    await operator.until_logged("at work")
                    assert len(await jobs_of(kube, namespace, number + 1)) == number + 1
            fault.count(struck=1, objects=1, lost=int(run["status"]["retry"] != str(number)))
    fault.check()
