"""Suites, gates and served models on a real API server: who wakes whom, and what may be made when."""

from collections.abc import AsyncIterator

import pytest

from plumbline_api.names import Kind
from plumbline_operator.kube.assembly import Operator
from tests.cluster.client import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, KubeClient, Object, Resource, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.operating import (
    apply,
    apply_inputs,
    condition_of,
    connect,
    finish_job,
    jobs_of,
    running_operator,
    serve_kinds,
    status_where,
)
from tests.support import build

pytestmark = pytest.mark.cluster

SERVICES = Resource("", "v1", "services")
POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")
RUN, SUITE, GATE, SERVED = Kind.ALIGNMENT_RUN, Kind.RED_TEAM_SUITE, Kind.EVAL_GATE, Kind.GUARDED_INFERENCE


@pytest.fixture(autouse=True)
async def kinds(kube: KubeClient) -> None:
    await serve_kinds(kube)


@pytest.fixture(name="operator")
async def operator_at_work(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Operator]:
    async with running_operator(connect(control_plane), namespace) as operator:
        yield operator


async def job_of(kube: KubeClient, namespace: str, owner: str) -> str:
    """The Job that was made for an object, once there is one."""

    async def look() -> list[Object]:
        return await kube.items(JOBS, namespace, f"plumbline.dev/owner={owner}")

    return str((await eventually(look, 60))[0]["metadata"]["name"])


async def pass_the_gate(kube: KubeClient, namespace: str) -> str:
    """A run, a suite, a gate over both; the digest of what passed."""
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.gate(), build.run(), build.suite())
    await finish_job(kube, namespace, await job_of(kube, namespace, "base"), build.training_summary("made"))
    run = await status_where(kube, namespace, RUN, "base", phase="Succeeded")
    subject = str(run["status"]["output"])
    await finish_job(kube, namespace, await job_of(kube, namespace, "gate"), build.evaluation_summary(subject))
    await status_where(kube, namespace, GATE, "gate", verdict="Passed")
    return subject


async def test_a_gate_follows_its_run_and_its_suite_hears_of_it(
    kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.gate())
    gate = await status_where(kube, namespace, GATE, "gate", phase="Stalled")
    assert "does not exist" in condition_of(gate, "Stalled")["message"]
    await apply(kube, namespace, build.suite())
    await apply(kube, namespace, build.run())
    gate = await status_where(kube, namespace, GATE, "gate", phase="Pending")
    assert condition_of(gate, "Reconciling")["reason"] == "WaitingForRun"
    await finish_job(kube, namespace, await job_of(kube, namespace, "base"), build.training_summary("made"))
    run = await status_where(kube, namespace, RUN, "base", phase="Succeeded")
    subject = str(run["status"]["output"])
    await finish_job(kube, namespace, await job_of(kube, namespace, "gate"), build.evaluation_summary(subject))
    gate = await status_where(kube, namespace, GATE, "gate", verdict="Passed")
    assert condition_of(gate, "Passed")["status"] == "True"
    suite = await kube.until(
        KINDS[SUITE], "attacks", namespace, lambda suite: (suite.get("status") or {}).get("executions")
    )
    assert [one["subject"] for one in suite["status"]["executions"]] == [subject]
    verdicts = operator.metrics.registry.get_sample_value("plumbline_gate_verdicts_total", {"verdict": "Passed"})
    assert verdicts == 1


async def test_what_passed_is_served_and_what_its_verdict_leaves_is_not(
    kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await apply(kube, namespace, build.inference())
    await status_where(kube, namespace, SERVED, "served", phase="Stalled")
    assert await kube.items(DEPLOYMENTS, namespace) == []
    await pass_the_gate(kube, namespace)
    (deployment,) = await eventually(lambda: kube.items(DEPLOYMENTS, namespace), 60)
    (service,) = await eventually(lambda: kube.items(SERVICES, namespace), 60)
    assert deployment["metadata"]["managedFields"][0]["manager"] == "plumbline"
    assert deployment["metadata"]["managedFields"][0]["operation"] == "Apply"
    pods = await eventually(lambda: kube.items(PODS, namespace, "pod-template-hash"), 60)
    for pod in pods:
        await serve(kube, pod)
    served = await status_where(kube, namespace, SERVED, "served", 90, phase="Serving")
    assert condition_of(served, "Ready")["status"] == "True"
    assert service["metadata"]["name"] in str(served["status"]["stable"]["endpoint"])
    before = deployment["metadata"]["resourceVersion"]

    await kube.merge(KINDS[GATE], "gate", {"spec": {"rules": [never()]}}, namespace)
    await status_where(kube, namespace, SERVED, "served", 90, phase="Stalled")

    async def is_gone() -> bool:
        found = await kube.items(DEPLOYMENTS, namespace)
        return all("deletionTimestamp" in one["metadata"] for one in found)

    await eventually(is_gone, 60)
    assert before


def never() -> Object:
    return {"metric": "harmful_compliance_rate", "atMost": "0", "confidence": "0.99"}


async def serve(kube: KubeClient, pod: Object) -> None:
    """Let engine and guard of a pod be ready."""
    spec = pod["spec"]
    status = {
        "phase": "Running",
        "initContainerStatuses": [ready(container) for container in spec["initContainers"]],
        "containerStatuses": [ready(container) for container in spec["containers"]],
        "conditions": [{"type": "Ready", "status": "True"}],
        "podIP": "10.1.1.1",
    }
    await kube.merge(PODS, pod["metadata"]["name"], {"status": status}, pod["metadata"]["namespace"], "status")


def ready(container: Object) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-31T12:00:00Z"}},
    }


async def test_a_service_that_people_made_is_not_taken_over(
    kube: KubeClient, namespace: str, operator: Operator
) -> None:
    theirs = {"metadata": {"name": "served-guard"}, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}}
    await kube.create(SERVICES, theirs, namespace)
    await apply(kube, namespace, build.inference())
    await pass_the_gate(kube, namespace)

    def complains(thing: Object) -> bool:
        return "served-guard" in str(condition_of(thing, "Stalled").get("message", ""))

    served = await kube.until(KINDS[SERVED], "served", namespace, complains, 60)
    assert "delete that one" in condition_of(served, "Stalled")["message"]
    kept = await kube.get(SERVICES, "served-guard", namespace)
    assert kept["spec"]["selector"] == {"app": "theirs"}
    await kube.delete(SERVICES, "served-guard", namespace)

    async def is_ours() -> bool:
        found = await kube.find(SERVICES, "served-guard", namespace)
        return found is not None and found["spec"]["selector"] != {"app": "theirs"}

    await eventually(is_ours, 60)


async def test_guard_rules_are_read_from_a_config_map_and_a_change_of_them_is_noticed(
    kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await pass_the_gate(kube, namespace)
    await apply(kube, namespace, build.inference(guard={"rules": {"configMap": {"name": "rules"}}}))
    served = await status_where(kube, namespace, SERVED, "served", phase="Stalled")
    assert "ConfigMap rules" in condition_of(served, "Stalled")["message"]
    text = "rules:\n- {name: secret, pattern: 'hunter[0-9]', action: Block}\n"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rules"}}
    await kube.apply(CONFIG_MAPS, {**body, "data": {"rules.yaml": "rules: []"}}, namespace)
    (first,) = await eventually(lambda: kube.items(DEPLOYMENTS, namespace), 60)
    await kube.apply(CONFIG_MAPS, {**body, "data": {"rules.yaml": text}}, namespace)

    async def is_another() -> bool:
        names = {one["metadata"]["name"] for one in await kube.items(DEPLOYMENTS, namespace)}
        served = await kube.get(KINDS[SERVED], "served", namespace)
        return bool(names - {first["metadata"]["name"]}) or condition_of(served, "Stalled") != {}

    await eventually(is_another, 60)


async def test_all_jobs_of_a_namespace_stay_as_they_are_over_a_restart(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    async with running_operator(connect(control_plane), namespace):
        await pass_the_gate(kube, namespace)
    before = [
        (job["metadata"]["name"], job["metadata"]["resourceVersion"]) for job in await jobs_of(kube, namespace, 2)
    ]
    objects = [await kube.get(KINDS[kind], name, namespace) for kind, name in ((RUN, "base"), (GATE, "gate"))]
    async with running_operator(connect(control_plane), namespace) as again:

        async def has_looked_at_all() -> bool:
            looked = again.metrics.registry.get_sample_value(
                "plumbline_reconcile_seconds_count", {"kind": "EvalGate", "result": "unchanged"}
            )
            return bool(looked)

        await eventually(has_looked_at_all, 60)
    after = [(job["metadata"]["name"], job["metadata"]["resourceVersion"]) for job in await kube.items(JOBS, namespace)]
    assert sorted(after) == sorted(before)
    assert [await kube.get(KINDS[kind], name, namespace) for kind, name in ((RUN, "base"), (GATE, "gate"))] == objects
