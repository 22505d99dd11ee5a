"""The real control plane for tests: it works as a cluster's does, and leaves nothing behind."""

import json
import subprocess
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml

from tests.cluster.build.clients import client_version
from tests.cluster.build.kubernetes import kubernetes_version
from tests.cluster.client import (
    CONFIG_MAPS,
    CRDS,
    JOBS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    ApiError,
    KubeClient,
    Object,
    Resource,
    eventually,
)
from tests.cluster.commands import run_helm, run_kubectl
from tests.cluster.controlplane import ControlPlane
from tests.cluster.objects import config_map, job, pod
from tests.cluster.pods import RESTRICTED

pytestmark = pytest.mark.cluster

POLICIES = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", namespaced=False)
BINDINGS = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", namespaced=False)


async def test_it_serves_the_release_that_was_built(control_plane: ControlPlane, kube: KubeClient) -> None:
    assert (await kube.call("GET", "/version"))["gitVersion"] == f"v{kubernetes_version()}"
    assert [part.running for part in control_plane.components] == [True] * 4


async def test_objects_come_back_and_a_stale_write_is_refused(kube: KubeClient, namespace: str) -> None:
    made = await kube.create(CONFIG_MAPS, config_map("notes", day="one"), namespace)
    await kube.merge(CONFIG_MAPS, "notes", {"data": {"day": "two"}}, namespace)
    assert (await kube.get(CONFIG_MAPS, "notes", namespace))["data"] == {"day": "two"}
    with pytest.raises(ApiError) as refused:
        await kube.replace(CONFIG_MAPS, made, namespace)
    assert (refused.value.status, refused.value.reason) == (HTTPStatus.CONFLICT, "Conflict")


async def test_a_watch_tells_of_every_change_from_a_version_on(kube: KubeClient, namespace: str) -> None:
    first = await kube.create(CONFIG_MAPS, config_map("notes"), namespace)
    long = "x" * 900_000
    await kube.merge(CONFIG_MAPS, "notes", {"data": {"day": long}}, namespace)
    await kube.delete(CONFIG_MAPS, "notes", namespace)
    seen = []
    async for event in kube.watch(CONFIG_MAPS, namespace, first["metadata"]["resourceVersion"]):
        seen.append((event.type, event.object.get("data")))
        if event.type == "DELETED":
            break
    assert seen == [("MODIFIED", {"day": long}), ("DELETED", {"day": long})]


async def test_a_job_gets_its_pod_and_takes_it_along(kube: KubeClient, namespace: str) -> None:
    owner = await kube.create(JOBS, job("train"), namespace)
    (pod,) = await eventually(lambda: kube.items(PODS, namespace, "job-name=train"))
    assert pod["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    await kube.delete(JOBS, "train", namespace)

    async def without() -> bool:
        return not await kube.items(PODS, namespace)

    await eventually(without)


async def test_a_pod_is_called_unschedulable_where_no_node_is(kube: KubeClient, namespace: str) -> None:
    await kube.create(PODS, pod("alone"), namespace)

    def unschedulable(found: Object) -> bool:
        return any(condition.get("reason") == "Unschedulable" for condition in found["status"].get("conditions", ()))

    (condition,) = (await kube.until(PODS, "alone", namespace, unschedulable))["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "False")
    assert "no nodes available" in condition["message"]


async def test_kubectl_applies_on_the_server_and_names_the_owner_of_a_field(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    def apply(manager: str, day: str, *, check: bool) -> subprocess.CompletedProcess[str]:
        text = yaml.safe_dump(config_map("notes", day=day))
        flags = ("apply", "--server-side", f"--field-manager={manager}", "-n", namespace, "-f", "-")
        return run_kubectl(control_plane, *flags, text=text, check=check)

    apply("alice", "one", check=True)
    refused = apply("bob", "two", check=False)
    assert refused.returncode != 0
    assert 'conflict with "alice": .data.day' in refused.stderr
    await kube.apply(CONFIG_MAPS, config_map("notes", day="three"), namespace, manager="bob", force=True)
    owners = (await kube.get(CONFIG_MAPS, "notes", namespace))["metadata"]["managedFields"]
    assert [owner["manager"] for owner in owners] == ["bob"]


def test_kubectl_of_the_next_release_works_too(control_plane: ControlPlane) -> None:
    newer = control_plane.programs.newer_kubectl
    said = json.loads(run_kubectl(control_plane, "version", "-o", "json", program=newer).stdout)
    assert said["clientVersion"]["gitVersion"] == f"v{client_version('kubectl')}"
    assert said["serverVersion"]["gitVersion"] == f"v{kubernetes_version()}"


@pytest.mark.parametrize("major", [3, 4])
def test_helm_installs_and_uninstalls(control_plane: ControlPlane, namespace: str, major: int, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: notes\nversion: 1.0.0\n")
    (chart / "templates/notes.yaml").write_text(yaml.safe_dump(config_map("notes", day="one")))

    def helm(*arguments: str) -> str:
        return run_helm(control_plane, major, *arguments, "-n", namespace).stdout

    assert helm("version", "--short").startswith(f"v{client_version(f'helm{major}')}+")
    helm("install", "notes", str(chart), "--wait")
    assert json.loads(helm("list", "-o", "json"))[0]["status"] == "deployed"
    helm("uninstall", "notes")
    assert json.loads(helm("list", "-o", "json")) == []


async def test_a_user_may_do_what_rbac_says_and_no_more(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    await kube.create(SERVICE_ACCOUNTS, {"metadata": {"name": "reader"}}, namespace)
    token = control_plane.service_account_token(namespace, "reader")
    async with control_plane.client(token=token) as reader:
        with pytest.raises(ApiError, match=f"system:serviceaccount:{namespace}:reader") as refused:
            await reader.items(CONFIG_MAPS, namespace)
        assert refused.value.status == HTTPStatus.FORBIDDEN
    alice = control_plane.user_kubeconfig("alice", ["engineers"])
    assert who_is(control_plane, alice) == ("alice", ["engineers", "system:authenticated"])
    account = control_plane.service_account_kubeconfig(namespace, "reader")
    assert who_is(control_plane, account)[0] == f"system:serviceaccount:{namespace}:reader"


def who_is(plane: ControlPlane, kubeconfig: Path) -> tuple[str, list[str]]:
    said = run_kubectl(plane, "auth", "whoami", "-o", "json", kubeconfig=kubeconfig).stdout
    info = json.loads(said)["status"]["userInfo"]
    return info["username"], info["groups"]


async def test_a_token_for_another_audience_is_told_apart(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    token = control_plane.service_account_token(namespace, "default", ["plumbline-status"])
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    for audience, authenticated in (("plumbline-status", True), ("somebody-else", False)):
        review = {"kind": "TokenReview", "spec": {"token": token, "audiences": [audience]}}
        assert (await kube.call("POST", reviews, review))["status"].get("authenticated", False) is authenticated
    async with control_plane.client(token=token) as client:
        with pytest.raises(ApiError) as refused:
            await client.items(CONFIG_MAPS, namespace)
        assert refused.value.status == HTTPStatus.UNAUTHORIZED


async def test_a_restricted_namespace_refuses_a_pod_that_is_not(kube: KubeClient, namespace: str) -> None:
    await kube.merge(NAMESPACES, namespace, {"metadata": {"labels": RESTRICTED}})
    with pytest.raises(ApiError, match='violates PodSecurity "restricted'):
        await kube.create(PODS, pod("root"), namespace)
    held = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    held["seccompProfile"] = {"type": "RuntimeDefault"}
    await kube.create(PODS, pod("held", securityContext=held), namespace)


async def test_an_admission_policy_refuses_what_it_names(kube: KubeClient, namespace: str) -> None:
    name = f"no-mondays.{namespace}.test"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    where = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": where},
        "validations": [{"expression": "object.data.?day.orValue('') != 'monday'", "message": "no mondays"}],
    }
    await kube.create(POLICIES, {"metadata": {"name": name}, "spec": policy})
    binding = {"policyName": name, "validationActions": ["Deny"]}
    await kube.create(BINDINGS, {"metadata": {"name": name}, "spec": binding})

    async def refused() -> bool:
        try:
            await kube.create(CONFIG_MAPS, config_map("a", day="monday"), namespace, {"dryRun": "All"})
        except ApiError as error:
            return "no mondays" in error.message
        return False

    try:
        await eventually(refused)
        await kube.create(CONFIG_MAPS, config_map("b", day="tuesday"), namespace)
    finally:
        await kube.delete(BINDINGS, name)
        await kube.delete(POLICIES, name)


async def test_a_custom_resource_is_served_once_it_is_established(kube: KubeClient) -> None:
    names = {"plural": "notes", "singular": "note", "kind": "Note", "listKind": "NoteList"}
    schema = {
        "type": "object",
        "properties": {"day": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": "self.day != 'monday'", "message": "no mondays"}],
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {"group": "tests.example", "scope": "Namespaced", "names": names, "versions": [version]}
    try:
        await kube.establish({"metadata": {"name": "notes.tests.example"}, "spec": spec})
        notes, note = Resource("tests.example", "v1", "notes"), {"apiVersion": "tests.example/v1", "kind": "Note"}
        await kube.create(notes, {**note, "metadata": {"name": "a"}, "day": "friday"}, "default")
        with pytest.raises(ApiError, match="no mondays"):
            await kube.create(notes, {**note, "metadata": {"name": "b"}, "day": "monday"}, "default")
    finally:
        await kube.delete(CRDS, "notes.tests.example")
