"""The operator with exactly what the chart gives it: its rights, its settings, its policies, a restricted namespace."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import run

import pytest

from plumbline_api.names import Image, Kind, status_audience
from plumbline_operator.kube.permissions import (
    NEEDED,
    NEEDED_FOR_LEASE,
    NEEDED_FOR_REVIEWS,
    Permission,
    needed_for_authority,
)
from tests.chart.helm import DIGESTS, Helm, Rendering, find
from tests.chart.releases import Release, values
from tests.cluster.client import PODS, KubeClient, Object, Resource, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.operating import (
    Process,
    apply,
    apply_inputs,
    finish_job,
    jobs_of,
    operator_process,
    serve_kinds,
    status_where,
)
from tests.support import build

pytestmark = pytest.mark.cluster

ASKED_OF_ITSELF = Permission("authorization.k8s.io", "selfsubjectaccessreviews", "create")
"""Every user may ask what it may do."""
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")


@contextmanager
def operator(plane: ControlPlane, release: Release, environment: dict[str, str], folder: Path) -> Iterator[Process]:
    """The operator's program, as its service account and with its variables."""
    account = plane.service_account_kubeconfig(release.namespace, "plumbline")
    with operator_process(account, folder, environment=environment) as process:
        yield process


@pytest.fixture
async def release(plane: ControlPlane, kube: KubeClient, namespace: str) -> AsyncIterator[Release]:
    """A release in a restricted namespace."""
    await serve_kinds(kube)
    made = Release(plane, 4, namespace)
    await made.install(values())
    yield made
    await made.uninstall()


async def whole_loop(kube: KubeClient, namespace: str) -> None:
    """Train, judge and serve, with the pods' work done by the test."""
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run("base"), build.suite(), build.gate(), build.inference(replicas=2))
    (training,) = await jobs_of(kube, namespace)
    await finish_job(kube, namespace, training["metadata"]["name"], build.training_summary("model"))
    evaluation = next(one for one in await jobs_of(kube, namespace, 2) if one["metadata"]["name"].startswith("gate-"))
    gate = await status_where(kube, namespace, Kind.EVAL_GATE, "gate", phase="Running")
    summary = build.evaluation_summary(gate["status"]["subject"])
    await finish_job(kube, namespace, evaluation["metadata"]["name"], summary)
    await status_where(kube, namespace, Kind.EVAL_GATE, "gate", phase="Passed")


async def ours(kube: KubeClient, resource: Resource, namespace: str, count: int) -> list[Object]:
    """What the operator made of a kind, once there is so much."""

    async def look() -> list[Object]:
        found = await kube.items(resource, namespace, "app.kubernetes.io/managed-by=plumbline")
        return found if len(found) >= count else []

    return await eventually(look, 60.0)


async def test_the_whole_loop_runs_with_what_the_chart_gives(
    plane: ControlPlane, kube: KubeClient, release: Release, tmp_path: Path
) -> None:
    namespace = release.namespace
    environment = await release.environment(kube)
    with operator(plane, release, environment, tmp_path) as process:
        await process.until_at_work()
        await whole_loop(kube, namespace)
        # Every pod came through the restricted standard and the policies; both replicas of what is served, too.
        pods = await ours(kube, PODS, namespace, 4)
    images = {container["image"] for pod in pods for container in containers(pod)}
    own = [one for one in Image if one.required]
    assert images == {f"registry.internal/plumbline/{one}@{DIGESTS['images'][one]['digest']}" for one in own}
    accounts = sorted(pod["spec"]["serviceAccountName"] for pod in pods)
    assert accounts == ["plumbline-evaluator", "plumbline-guard", "plumbline-guard", "plumbline-trainer"]
    tokens = {audience(pod) for pod in pods if pod["spec"]["serviceAccountName"] != "plumbline-guard"}
    assert tokens == {(status_audience(namespace, pod["metadata"]["labels"]["job-name"]),) for pod in pods if job(pod)}
    assert {audience(pod) for pod in pods if not job(pod)} == {()}, "what serves has no token at all"
    policies = await ours(kube, NETWORK_POLICIES, namespace, 3)
    ports = sorted(str([rule["ports"] for rule in one["spec"].get("egress", [])]) for one in policies)
    assert ports == ["[[{'protocol': 'TCP', 'port': 8443}]]"] * 2 + ["[]"]
    await asks_for_no_more_than_its_role(plane, namespace)


def job(pod: Object) -> bool:
    return "job-name" in pod["metadata"]["labels"]


def audience(pod: Object) -> tuple[str, ...]:
    """What the tokens of a pod are made for."""
    sources = [source for volume in pod["spec"]["volumes"] for source in volume.get("projected", {}).get("sources", ())]
    return tuple(source["serviceAccountToken"]["audience"] for source in sources)


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


async def asks_for_no_more_than_its_role(plane: ControlPlane, namespace: str) -> None:
    """Hold the API server's own log of the operator's calls against the table."""
    user = f"system:serviceaccount:{namespace}:plumbline"
    events = [one for one in plane.audit_events() if one["user"]["username"] == user]
    refused = [one for one in events if one["responseStatus"]["code"] in (401, 403)]
    assert refused == []
    # Without an object: what the API server serves at all, which everybody may read.
    asked = {permission(one["objectRef"], one["verb"]) for one in events if "objectRef" in one}
    progress = {Permission(one.group, one.resource, one.verb) for one in needed_for_authority("any")}
    table = {*NEEDED, *NEEDED_FOR_LEASE, *NEEDED_FOR_REVIEWS, *progress, ASKED_OF_ITSELF}
    assert asked - table == set()
    # A whole life uses most of it.
    assert len(asked & table) > len(table) / 2


def permission(place: Object, verb: str) -> Permission:
    resource = "/".join(filter(None, [place["resource"], place.get("subresource")]))
    return Permission(place.get("apiGroup", ""), resource, verb)


async def test_an_operator_of_all_namespaces_starts_with_its_cluster_role(
    plane: ControlPlane, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    await serve_kinds(kube)
    release = Release(plane, 3, namespace)
    await release.install(values(clusterWide=True, admission={"enabled": False}))
    try:
        with operator(plane, release, await release.environment(kube), tmp_path) as process:
            await process.until_at_work()
            assert process.lines("started")[0]["namespaces"] == []
    finally:
        await release.uninstall()


async def test_two_namespaces_are_watched_with_a_role_in_each(
    plane: ControlPlane, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    await serve_kinds(kube)
    release = Release(plane, 4, namespace)
    await release.install(values(watchNamespaces=[namespace, "default"]))
    try:
        with operator(plane, release, await release.environment(kube), tmp_path) as process:
            await process.until_at_work()
            assert process.lines("started")[0]["namespaces"] == [namespace, "default"]
    finally:
        await release.uninstall()


# helm test


async def test_helm_test_runs_a_pod_and_tells_how_it_ended(
    plane: ControlPlane, kube: KubeClient, namespace: str, major: int
) -> None:
    release = Release(plane, major, namespace)
    await release.install(values(admission={"enabled": False}))
    try:
        for phase, code in (("Succeeded", 0), ("Failed", 1)):
            testing = asyncio.create_task(release.helm("test", "plumbline", "--timeout", "60s", check=False))
            await kube.until(PODS, "plumbline-test", namespace, lambda pod: pod["status"]["phase"] == "Pending", 60.0)
            await kube.merge(PODS, "plumbline-test", {"status": {"phase": phase}}, namespace, "status")
            assert (await testing).returncode == code
    finally:
        await release.uninstall()


async def test_the_pod_of_helm_test_believes_the_operator_alone(
    plane: ControlPlane, kube: KubeClient, release: Release, helm4: Helm, tmp_path: Path
) -> None:
    (container,) = find(helm4.render(Rendering(DIGESTS)), "Pod", "plumbline-test")["spec"]["containers"]
    script, address = container["args"]
    assert address == "http://plumbline.plumbline-system.svc:8080/readyz"

    async def ask(port: int) -> int:
        command = [sys.executable, "-c", script, f"http://127.0.0.1:{port}/readyz"]
        return (await asyncio.to_thread(run, command, check=False, capture_output=True, timeout=60)).returncode

    with operator(plane, release, await release.environment(kube), tmp_path) as process:
        await process.until_at_work()
        port = process.lines("started")[0]["port"]
        assert await ask(port) == 0
    assert await ask(port) == 1
