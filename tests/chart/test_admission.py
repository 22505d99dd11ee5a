"""The chart's admission policies on a real API server: each thing that would get around a gate, tried by a person.

Alice is a cluster administrator; the operator has the role that the chart gives it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import pytest
import yaml

from plumbline_api.names import APPROVE_ANNOTATION, LABEL_OWNER_KIND, OVERRIDE_ANNOTATION, Kind
from tests.chart.helm import CHART, DIGESTS
from tests.cluster.client import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    NAMESPACES,
    PODS,
    ApiError,
    KubeClient,
    Object,
    Resource,
    eventually,
)
from tests.cluster.commands import run_helm
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS, install_crds
from tests.cluster.jobsets import CONTROLLER_USER
from tests.support import build, planned

pytestmark = pytest.mark.cluster

SERVICES = Resource("", "v1", "services")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets")
REPLICA_SETS = Resource("apps", "v1", "replicasets")
POLICIES = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", namespaced=False)
PLACES = {
    "ConfigMap": CONFIG_MAPS,
    "Deployment": DEPLOYMENTS,
    "Job": JOBS,
    "NetworkPolicy": NETWORK_POLICIES,
    "PodDisruptionBudget": Resource("policy", "v1", "poddisruptionbudgets"),
    "Service": SERVICES,
}
SYSTEM = "guarded"
RUNTIME = replace(planned.CLUSTER, service_accounts={}, store_claim=None)
TRUSTED = "system:serviceaccount:kueue-system:kueue-controller-manager"


@dataclass(frozen=True)
class People:
    """Clients of the same API server."""

    operator: KubeClient
    alice: KubeClient
    trusted: KubeClient
    manager: KubeClient
    """All controllers of Kubernetes with one identity, as some distributions run them."""


@pytest.fixture(scope="module")
def guarded(plane: ControlPlane) -> Iterator[str]:
    """The namespace of a release with policies."""
    call = plane.caller.call
    assert call("POST", NAMESPACES.path(None), {"metadata": {"name": SYSTEM}})[0] == HTTPStatus.CREATED
    values = {**DIGESTS, "crds": {"install": False}}
    flags = ("install", "plumbline", str(CHART), "-n", SYSTEM, "-f", "-")
    run_helm(plane, 4, *flags, text=yaml.safe_dump(values))
    yield SYSTEM
    run_helm(plane, 4, "uninstall", "plumbline", "-n", SYSTEM)


@pytest.fixture
async def people(plane: ControlPlane, kube: KubeClient, guarded: str) -> AsyncIterator[People]:
    await install_crds(kube)
    token = plane.service_account_token(guarded, "plumbline")

    def user(name: str) -> AbstractAsyncContextManager[KubeClient]:
        """No role holds them back, so what is refused is refused by a policy."""
        return plane.client(plane.authority.issue(name, ["system:masters"]))

    async with AsyncExitStack() as stack:
        found = People(
            operator=await stack.enter_async_context(plane.client(token=token)),
            alice=await stack.enter_async_context(user("alice")),
            trusted=await stack.enter_async_context(user(TRUSTED)),
            manager=await stack.enter_async_context(user("system:kube-controller-manager")),
        )
        await eventually(lambda: enforced(found.alice))
        yield found


async def enforced(alice: KubeClient) -> bool:
    """Whether the API server has taken in the policies."""
    for resource, thing in (
        (CONFIG_MAPS, {"metadata": {"name": "probe", "labels": {LABEL_OWNER_KIND: "None"}}}),
        (KINDS[Kind.EVAL_GATE], manifest(Kind.EVAL_GATE, {APPROVE_ANNOTATION: "bob: yes"})),
    ):
        try:
            await alice.create(resource, thing, SYSTEM, {"dryRun": "All"})
        except ApiError:
            continue
        return False
    return True


def manifest(kind: Kind, annotations: dict[str, str] | None = None) -> Object:
    """A small object of ours."""
    made = {
        Kind.ALIGNMENT_RUN: build.run("decided"),
        Kind.RED_TEAM_SUITE: build.suite("decided"),
        Kind.EVAL_GATE: build.gate("decided"),
        Kind.GUARDED_INFERENCE: build.inference("decided"),
    }[kind].dump()
    return {**made, "metadata": {"name": "decided", "annotations": annotations or {}}}


async def refusal(attempt: Any) -> str:
    """What the API server says to an attempt."""
    with pytest.raises(ApiError) as refused:
        await attempt
    assert refused.value.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)
    assert "ValidatingAdmissionPolicy 'plumbline.guarded." in refused.value.message
    return refused.value.message


@pytest.fixture
async def served(people: People, kube: KubeClient) -> AsyncIterator[dict[str, Object]]:
    """What the operator made of a GuardedInference and of a stage, by kind."""
    children = (*planned.serving(RUNTIME, replicas=2), *planned.stage(RUNTIME))
    found: dict[str, Object] = {}
    for child in children:
        body = {**child.manifest, "metadata": {**child.manifest["metadata"], "namespace": SYSTEM}}
        place = PLACES[child.ref.kind]
        made = await people.operator.create(place, body, SYSTEM)
        found.setdefault(child.ref.kind, made)
    yield found
    for child in children:
        if await kube.find(PLACES[child.ref.kind], child.ref.name, SYSTEM):
            await kube.delete(PLACES[child.ref.kind], child.ref.name, SYSTEM)
    await eventually(lambda: nothing_left(kube))


async def nothing_left(kube: KubeClient) -> bool:
    return not await kube.items(PODS, SYSTEM, LABEL_OWNER_KIND)


async def pods_of(kube: KubeClient, kind: str) -> list[Object]:
    return await kube.items(PODS, SYSTEM, f"{LABEL_OWNER_KIND}={kind}")


async def test_the_controllers_of_kubernetes_carry_on_what_the_operator_began(
    kube: KubeClient, served: dict[str, Object]
) -> None:
    async def complete() -> bool:
        return len(await pods_of(kube, "GuardedInference")) == 2 and len(await pods_of(kube, "AlignmentRun")) == 1

    await eventually(complete)


async def test_the_policies_are_sound_for_every_kind_they_match(kube: KubeClient, people: People) -> None:
    async def checked() -> list[Object]:
        found = [one for one in await kube.items(POLICIES) if one["metadata"]["name"].startswith("plumbline.guarded")]
        return found if all("typeChecking" in one.get("status", {}) for one in found) else []

    policies = await eventually(checked)
    assert len(policies) == 3
    assert [one["status"]["typeChecking"] for one in policies] == [{}] * 3


# What the operator made


def image_patch(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": name, "image": "example.invalid/evil"}]}}}}


CHANGES: dict[str, tuple[str, Object]] = {
    "another image": ("Deployment", image_patch("guard")),
    "a label of the pods": (
        "Deployment",
        {"spec": {"template": {"metadata": {"labels": {"plumbline.dev/gate": "x"}}}}},
    ),
    "our labels taken away": ("Deployment", {"metadata": {"labels": {LABEL_OWNER_KIND: None}}}),
    "other guard rules": ("ConfigMap", {"data": {"policy.json": "{}"}}),
    "other endpoints": ("Service", {"spec": {"selector": {"app": "mine"}}}),
    "the engine's port": ("Service", {"spec": {"ports": [{"port": 80, "targetPort": "engine"}]}}),
    "an open door": ("NetworkPolicy", {"spec": {"ingress": [{}]}}),
    "a Job suspended": ("Job", {"spec": {"suspend": True}}),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_nobody_else_changes_what_the_operator_made(people: People, served: dict[str, Object], what: str) -> None:
    kind, change = CHANGES[what]
    said = await refusal(people.alice.merge(PLACES[kind], served[kind]["metadata"]["name"], change, SYSTEM))
    assert "only the operator changes it; change that object instead" in said


async def test_a_pod_that_serves_keeps_its_image_and_gets_no_debug_container(
    people: People, kube: KubeClient, served: dict[str, Object]
) -> None:
    pod = (await eventually(lambda: pods_of(kube, "GuardedInference")))[0]
    name = pod["metadata"]["name"]
    containers = [{**one, "image": "example.invalid/evil"} for one in pod["spec"]["containers"]]
    await refusal(people.alice.merge(PODS, name, {"spec": {"containers": containers}}, SYSTEM))
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "example.invalid/shell"}]}}
    await refusal(people.alice.merge(PODS, name, debug, SYSTEM, "ephemeralcontainers"))


def harmless(labels: dict[str, str]) -> Object:
    """A pod that the restricted standard would let in, with these labels."""
    container = {"name": "main", "image": "example.invalid/mine"}
    return {"metadata": {"name": "mine", "labels": labels}, "spec": {"containers": [container]}}


def workload(kind: Resource, outer: dict[str, str], inner: dict[str, str]) -> Object:
    pod = harmless(inner)
    spec: Object = {"template": {"metadata": {"labels": inner}, "spec": pod["spec"]}}
    if kind == JOBS:
        spec["template"]["spec"] = {**pod["spec"], "restartPolicy": "Never"}
    else:
        spec["selector"] = {"matchLabels": inner}
    if kind == STATEFUL_SETS:
        spec["serviceName"] = "mine"
    return {"metadata": {"name": "mine", "labels": outer}, "spec": spec}


async def test_nobody_else_answers_a_served_models_clients(
    people: People, kube: KubeClient, served: dict[str, Object]
) -> None:
    found = served["Service"]["spec"]["selector"]
    await refusal(people.alice.create(PODS, harmless(found), SYSTEM))
    await people.alice.create(PODS, harmless({"app": "mine"}), SYSTEM)
    await refusal(people.alice.merge(PODS, "mine", {"metadata": {"labels": found}}, SYSTEM))
    await kube.delete(PODS, "mine", SYSTEM)
    for resource in (DEPLOYMENTS, REPLICA_SETS, JOBS):
        await refusal(people.alice.create(resource, workload(resource, {}, found), SYSTEM))
        await refusal(people.alice.create(resource, workload(resource, found, {"app": "mine"}), SYSTEM))


async def test_no_other_controller_makes_pods_that_answer_either(
    people: People, kube: KubeClient, served: dict[str, Object]
) -> None:
    found = served["Service"]["spec"]["selector"]
    await people.alice.create(STATEFUL_SETS, workload(STATEFUL_SETS, {}, found), SYSTEM)

    async def failed() -> list[str]:
        events = await kube.items(EVENTS, SYSTEM)
        return [one["message"] for one in events if one["involvedObject"]["kind"] == "StatefulSet"]

    messages = await eventually(failed)
    assert "only the operator changes it" in messages[0]
    assert await kube.find(PODS, "mine-0", SYSTEM) is None
    await kube.delete(STATEFUL_SETS, "mine", SYSTEM)


async def test_where_controllers_share_one_name_the_owner_tells_them_apart(
    people: People, kube: KubeClient, served: dict[str, Object]
) -> None:
    replica_set = (await eventually(lambda: kube.items(REPLICA_SETS, SYSTEM, LABEL_OWNER_KIND)))[0]

    def owned(kind: str) -> Object:
        pod = harmless(served["Service"]["spec"]["selector"])
        owner = {"apiVersion": "apps/v1", "kind": kind, "name": replica_set["metadata"]["name"], "controller": True}
        pod["metadata"]["ownerReferences"] = [{**owner, "uid": replica_set["metadata"]["uid"]}]
        return pod

    dry = {"dryRun": "All"}
    await refusal(people.manager.create(PODS, owned("StatefulSet"), SYSTEM, dry))
    await people.manager.create(PODS, owned("ReplicaSet"), SYSTEM, dry)
    await refusal(people.alice.create(PODS, owned("ReplicaSet"), SYSTEM, dry))


async def test_the_controller_of_job_sets_alone_makes_their_jobs(people: People, plane: ControlPlane) -> None:
    template = dict(planned.stage(RUNTIME, compute={"nodes": 2})[-1].manifest)
    owner = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": "set", "uid": "u", "controller": True}

    def job(*owners: Object) -> Object:
        metadata = {"name": "set-n-0", "labels": template["metadata"]["labels"], "ownerReferences": list(owners)}
        return {"metadata": metadata, "spec": template["spec"]}

    async with plane.client(plane.authority.issue(CONTROLLER_USER, ["system:masters"])) as controller:
        await controller.create(JOBS, job(owner), SYSTEM, {"dryRun": "All"})
        await refusal(controller.create(JOBS, job(), SYSTEM, {"dryRun": "All"}))
    await refusal(people.alice.create(JOBS, job(owner), SYSTEM, {"dryRun": "All"}))


async def test_what_gets_around_nothing_stays_free(people: People, served: dict[str, Object]) -> None:
    name = served["Deployment"]["metadata"]["name"]
    alice = people.alice
    await alice.merge(DEPLOYMENTS, name, {"spec": {"replicas": 3}}, SYSTEM, "scale")
    await alice.merge(DEPLOYMENTS, name, {"metadata": {"annotations": {"note": "seen"}}}, SYSTEM)
    await alice.merge(DEPLOYMENTS, name, {"metadata": {"labels": {"team": "a"}}}, SYSTEM)
    await alice.create(CONFIG_MAPS, {"metadata": {"name": "hers"}, "data": {"a": "b"}}, SYSTEM)
    await alice.merge(CONFIG_MAPS, "hers", {"data": {"a": "c"}}, SYSTEM)
    await alice.delete(CONFIG_MAPS, "hers", SYSTEM)
    await alice.delete(DEPLOYMENTS, name, SYSTEM)


async def test_a_queue_that_is_trusted_lets_a_job_begin(people: People, served: dict[str, Object]) -> None:
    name = served["Job"]["metadata"]["name"]
    for suspend in (True, False):
        await people.trusted.merge(JOBS, name, {"spec": {"suspend": suspend}}, SYSTEM)


async def test_other_namespaces_are_none_of_its_business(people: People, namespace: str) -> None:
    marked = {"metadata": {"name": "hers", "labels": {LABEL_OWNER_KIND: "GuardedInference"}}}
    await people.alice.create(CONFIG_MAPS, marked, namespace)


# What the operator says


async def test_a_verdict_is_written_by_the_operator_alone(people: People) -> None:
    gates = KINDS[Kind.EVAL_GATE]
    await people.alice.create(gates, manifest(Kind.EVAL_GATE), SYSTEM)
    passed = {"status": {"verdict": "Passed"}}
    assert "only the operator writes a status" in await refusal(
        people.alice.merge(gates, "decided", passed, SYSTEM, "status")
    )
    # Along with the rest of the object it is passed over, as ever.
    await people.alice.merge(gates, "decided", {**passed, "metadata": {"labels": {"team": "a"}}}, SYSTEM)
    made = await people.operator.get(gates, "decided", SYSTEM)
    assert "verdict" not in made["status"]
    made["status"] = {**made["status"], "observedGeneration": 1}
    await people.operator.replace(gates, made, SYSTEM, "status")
    await people.alice.delete(gates, "decided", SYSTEM)


# What people decide


@pytest.fixture
async def undecided(people: People) -> AsyncIterator[Resource]:
    """A gate that alice made."""
    gates = KINDS[Kind.EVAL_GATE]
    await people.alice.create(gates, manifest(Kind.EVAL_GATE), SYSTEM)
    yield gates
    await people.alice.delete(gates, "decided", SYSTEM)


def decision(value: str | None, key: str = APPROVE_ANNOTATION) -> Object:
    return {"metadata": {"annotations": {key: value}}}


@pytest.mark.parametrize("key", [APPROVE_ANNOTATION, OVERRIDE_ANNOTATION])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("bob: looks good", 'must begin with the name of whoever writes it: "alice: <reason>"'),
        ("looks good", "must begin with the name"),
        ("", "must begin with the name"),
        ("alicent: looks good", "must begin with the name"),
        ("Alice: looks good", "must begin with the name"),
        ("alice: ", "lacks a reason"),
        ("alice:   ", "lacks a reason"),
    ],
)
async def test_a_decision_without_its_writers_name_and_a_reason_is_refused(
    people: People, undecided: Resource, key: str, value: str, said: str
) -> None:
    answer = await refusal(people.alice.merge(undecided, "decided", decision(value, key), SYSTEM))
    assert key in answer
    assert said in answer


async def test_a_decision_stays_as_its_writer_left_it(people: People, undecided: Resource) -> None:
    alice, other = people.alice, people.trusted
    await alice.merge(undecided, "decided", decision("alice: read every row"), SYSTEM)
    # Others may change the object beside it, and take it away, but not say it anew.
    await other.merge(undecided, "decided", {"metadata": {"labels": {"team": "b"}}}, SYSTEM)
    await other.merge(undecided, "decided", decision("alice: read every row"), SYSTEM)
    await refusal(other.merge(undecided, "decided", decision("alice: read two rows"), SYSTEM))
    await other.merge(undecided, "decided", decision(None), SYSTEM)
    await refusal(other.merge(undecided, "decided", decision("alice: read every row"), SYSTEM))
    await other.merge(undecided, "decided", decision(f"{TRUSTED}: so says the queue"), SYSTEM)


@pytest.mark.parametrize("kind", Kind)
async def test_an_object_cannot_be_made_with_somebody_elses_decision(people: People, kind: Kind) -> None:
    await refusal(people.alice.create(KINDS[kind], manifest(kind, {OVERRIDE_ANNOTATION: "bob: because"}), SYSTEM))
    await people.alice.create(KINDS[kind], manifest(kind, {OVERRIDE_ANNOTATION: "alice: because"}), SYSTEM)
    await people.alice.delete(KINDS[kind], "decided", SYSTEM)


async def test_a_name_that_looks_like_a_name_and_a_reason_decides_nothing(
    plane: ControlPlane, people: People, undecided: Resource
) -> None:
    imposter = plane.authority.issue("alice: really", ["system:masters"])
    async with plane.client(imposter) as client:
        answer = await refusal(client.merge(undecided, "decided", decision("alice: really: yes"), SYSTEM))
    assert "contains a colon and a space" in answer
