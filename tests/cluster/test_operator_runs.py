"""An AlignmentRun on a real API server, from `kubectl apply` to its end and its deletion."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from plumbline_api.names import FIELD_MANAGER, INPUTS_CONFIG_MAP, LABEL_MANAGED_BY, RETRY_ANNOTATION, Kind
from plumbline_api.report import Result, Summary
from plumbline_operator.kube.assembly import Operator
from tests.cluster.client import CONFIG_MAPS, EVENTS, JOBS, PODS, ApiError, KubeClient, Object, eventually
from tests.cluster.commands import run_kubectl
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.operating import (
    apply,
    apply_inputs,
    children,
    condition_of,
    connect,
    finish_job,
    jobs_of,
    mark_pod,
    running_operator,
    serve_kinds,
    status_where,
)
from tests.support import build

pytestmark = pytest.mark.cluster

RUNS = KINDS[Kind.ALIGNMENT_RUN]
RUN = Kind.ALIGNMENT_RUN


@pytest.fixture(autouse=True)
async def kinds(kube: KubeClient) -> None:
    await serve_kinds(kube)


@pytest.fixture(name="operator")
async def operator_at_work(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Operator]:
    async with running_operator(connect(control_plane), namespace) as operator:
        yield operator


def written(operator: Operator) -> float:
    """How many writes the operator has made, events left out."""
    total = 0.0
    for family in operator.metrics.registry.collect():
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "plumbline_api_requests_total" and not labels["resource"].startswith("events"):
                total += sample.value * (labels["verb"] in ("create", "update", "patch", "delete"))
    return total


async def settled(operator: Operator) -> None:
    """Return once nothing is left to do."""

    async def look() -> bool:
        before = written(operator)
        await asyncio.sleep(0.3)
        return operator.queue.depth == operator.queue.working == 0 and written(operator) == before

    await eventually(look)


async def test_a_run_gets_one_config_map_and_one_job_that_are_its_own(
    kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await apply_inputs(kube, namespace)
    (run,) = await apply(kube, namespace, build.run())
    (job,) = await jobs_of(kube, namespace)
    status = (await status_where(kube, namespace, RUN, "base", observedGeneration=1))["status"]
    assert condition_of({"status": status}, "Reconciling")["status"] == "True"
    assert status["stages"][0]["job"] == job["metadata"]["name"]
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("AlignmentRun", run["metadata"]["uid"], True)
    assert job["metadata"]["labels"][LABEL_MANAGED_BY] == FIELD_MANAGER
    config_map = await kube.get(CONFIG_MAPS, job["metadata"]["name"], namespace)
    order = json.loads(config_map["data"]["run.json"])
    assert order["inputs"]["model"] == {"uri": build.STORE, "digest": build.digest("init")}
    await settled(operator)
    found = await children(kube, namespace)
    assert found["jobs"] == found["configmaps"] == [job["metadata"]["name"]]


async def test_a_run_ends_when_its_jobs_have_and_kubectl_can_wait_for_it(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run(stages=2))
    (first,) = await jobs_of(kube, namespace)
    await finish_job(kube, namespace, first["metadata"]["name"], build.training_summary("one"))
    jobs = await jobs_of(kube, namespace, 2)
    (second,) = {job["metadata"]["name"] for job in jobs} - {first["metadata"]["name"]}
    await finish_job(kube, namespace, second, build.training_summary("two"))
    words = "wait", "--for=condition=Succeeded", "alr/base", "--timeout=60s", "-n", namespace
    await asyncio.to_thread(run_kubectl, control_plane, *words)
    run = await kube.get(RUNS, "base", namespace)
    assert run["status"]["phase"] == "Succeeded"
    assert run["status"]["output"] == build.digest("two") or run["status"]["output"].startswith("sha256:")
    assert [row["state"] for row in run["status"]["stages"]] == ["Succeeded", "Succeeded"]
    await settled(operator)
    events = [
        one["reason"]
        for one in await kube.items(EVENTS, namespace)
        if one["involvedObject"]["uid"] == run["metadata"]["uid"]
    ]
    assert "Succeeded" in events
    assert len(events) <= 8
    assert "FieldManager" not in json.dumps(run["metadata"])
    assert not run["metadata"].get("finalizers")
    assert not run["metadata"].get("annotations")


async def test_a_failed_job_ends_the_run_and_a_retry_begins_another(
    kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run())
    (job,) = await jobs_of(kube, namespace)
    name = job["metadata"]["name"]
    bad = Summary(result=Result.FAILED, message="rows.jsonl:7: chosen equals rejected; correct the row")
    await finish_job(kube, namespace, name, bad, code=65)
    run = await status_where(kube, namespace, RUN, "base", phase="Failed")
    assert condition_of(run, "Succeeded")["status"] == "False"
    assert "rows.jsonl:7" in condition_of(run, "Stalled")["message"]
    await kube.merge(RUNS, "base", {"metadata": {"annotations": {RETRY_ANNOTATION: "again"}}}, namespace)
    jobs = await jobs_of(kube, namespace, 2)
    (again,) = {one["metadata"]["name"] for one in jobs} - {name}
    await finish_job(kube, namespace, again, build.training_summary("good"))
    run = await status_where(kube, namespace, RUN, "base", phase="Succeeded")
    assert run["status"]["attempt"] == 2


async def test_a_missing_input_is_told_and_the_run_goes_on_once_it_is_there(
    kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await apply(kube, namespace, build.run())
    run = await status_where(kube, namespace, RUN, "base", phase="Stalled")
    assert INPUTS_CONFIG_MAP in condition_of(run, "Stalled")["message"]
    assert "plumbline push" in condition_of(run, "Stalled")["message"]
    await apply_inputs(kube, namespace, "init")

    def names_the_file(thing: Object) -> bool:
        return "data.jsonl" in str(condition_of(thing, "Stalled").get("message", ""))

    await kube.until(RUNS, "base", namespace, names_the_file)
    assert await kube.items(JOBS, namespace) == []
    await apply_inputs(kube, namespace)
    assert len(await jobs_of(kube, namespace)) == 1


async def test_what_changes_nothing_causes_no_write(kube: KubeClient, namespace: str, operator: Operator) -> None:
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run())
    (job,) = await jobs_of(kube, namespace)
    await kube.until(RUNS, "base", namespace, lambda run: condition_of(run, "Ready").get("reason") == "Unschedulable")
    await settled(operator)
    before = written(operator)
    assert before <= 3 + 2, "the ConfigMap, the Job, the status, and what becomes of its pod"
    for number in range(5):
        noise = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": str(number)}}}
        await kube.merge(RUNS, "base", noise, namespace)
        await kube.merge(JOBS, job["metadata"]["name"], noise, namespace)
    version = (await kube.get(RUNS, "base", namespace))["metadata"]["resourceVersion"]
    await eventually(lambda: _seen(operator, namespace, version))
    await settled(operator)
    assert written(operator) == before
    assert (await kube.get(RUNS, "base", namespace))["metadata"]["resourceVersion"] == version


async def _seen(operator: Operator, namespace: str, version: str) -> bool:
    from plumbline_operator.kube.api.resources import OURS

    return int(operator.cache.version(OURS[RUN], namespace, "base") or 0) >= int(version)


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_a_deleted_run_takes_its_children_with_it_and_none_is_made_anew(
    kube: KubeClient, namespace: str, operator: Operator, propagation: str
) -> None:
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run())
    (job,) = await jobs_of(kube, namespace)
    (pod,) = await eventually(lambda: kube.items(PODS, namespace))
    await mark_pod(kube, pod, running={"startedAt": "2026-01-31T12:00:00Z"})
    await status_where(kube, namespace, RUN, "base", phase="Running")
    await kube.delete(RUNS, "base", namespace, propagation)

    async def all_gone() -> bool:
        # Pods wait for a kubelet that is not there: end them as it would.
        for one in await kube.items(PODS, namespace):
            if "deletionTimestamp" in one["metadata"]:
                with suppress(ApiError):
                    await kube.call("DELETE", PODS.path(namespace, one["metadata"]["name"]), {"gracePeriodSeconds": 0})
        left = await children(kube, namespace)
        return not any(left.values()) and await kube.find(RUNS, "base", namespace) is None

    await eventually(all_gone, 60)
    await settled(operator)
    assert not any((await children(kube, namespace)).values())
    assert operator.cache.keys() == ()
    assert job["metadata"]["name"]


async def test_a_run_that_is_made_anew_at_once_gets_children_of_its_own(
    kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await apply_inputs(kube, namespace)
    (first,) = await apply(kube, namespace, build.run())
    await jobs_of(kube, namespace)
    await kube.delete(RUNS, "base", namespace)
    (second,) = await apply(kube, namespace, build.run())
    assert first["metadata"]["uid"] != second["metadata"]["uid"]

    async def belongs_to_second() -> bool:
        jobs = [job for job in await kube.items(JOBS, namespace) if "deletionTimestamp" not in job["metadata"]]
        return [job["metadata"]["ownerReferences"][0]["uid"] for job in jobs] == [second["metadata"]["uid"]]

    await eventually(belongs_to_second, 60)
    await status_where(kube, namespace, RUN, "base", observedGeneration=1)


async def test_an_object_edited_and_deleted_within_a_second_leaves_nothing(
    kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await apply_inputs(kube, namespace)
    for number in range(5):
        name = f"brief-{number}"
        await apply(kube, namespace, build.run(name))
        await kube.merge(RUNS, name, {"metadata": {"annotations": {RETRY_ANNOTATION: "x"}}}, namespace)
        await kube.delete(RUNS, name, namespace)

    async def nothing_left() -> bool:
        found = await children(kube, namespace)
        return not found["jobs"] and not found["configmaps"]

    await eventually(nothing_left, 60)
    await settled(operator)
    assert await nothing_left()


async def test_a_job_that_somebody_else_owns_is_not_taken(kube: KubeClient, namespace: str, operator: Operator) -> None:
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run())
    (job,) = await jobs_of(kube, namespace)
    name = job["metadata"]["name"]
    await kube.delete(RUNS, "base", namespace)
    await eventually(lambda: _no_jobs(kube, namespace), 60)
    foreign = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "example.invalid/none"}]}}
    await kube.create(JOBS, {**foreign, "spec": {"suspend": True, "template": template}}, namespace)
    await apply(kube, namespace, build.run())
    run = await status_where(kube, namespace, RUN, "base", phase="Stalled")
    message = condition_of(run, "Stalled")["message"]
    assert name in message
    assert "belongs to nobody" in message
    await kube.delete(JOBS, name, namespace)

    async def is_ours() -> bool:
        found = await kube.find(JOBS, name, namespace)
        return found is not None and bool(found["metadata"].get("ownerReferences"))

    await eventually(is_ours, 90)
    await kube.until(RUNS, "base", namespace, lambda thing: not condition_of(thing, "Stalled"))


async def _no_jobs(kube: KubeClient, namespace: str) -> bool:
    return not await kube.items(JOBS, namespace)
