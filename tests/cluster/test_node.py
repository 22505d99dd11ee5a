"""The node of processes does what a kubelet does, as far as tests of whole runs rely on it."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.client import CONFIG_MAPS, PODS, KubeClient, Object, Resource, eventually
from tests.cluster.node import Node, process_node
from tests.cluster.node_volumes import CLAIMS, VOLUMES
from tests.cluster.pods import enforce_restricted
from tests.support.programs import program, starts

pytestmark = pytest.mark.cluster

REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", namespaced=False)


@pytest.fixture
async def node(kube: KubeClient, namespace: str, tmp_path: Path) -> AsyncIterator[Node]:
    async with process_node(kube, tmp_path / "node", namespace) as made:
        yield made


def container(path: Path, name: str = "main", **more: Any) -> Object:
    return {"name": name, "image": "none", "command": [str(path)], **more}


async def run(kube: KubeClient, namespace: str, *containers: Object, **spec: Any) -> None:
    body = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": list(containers), **spec}
    await kube.create(PODS, {"metadata": {"name": "pod"}, "spec": body}, namespace)


async def in_phase(kube: KubeClient, namespace: str, phase: str) -> Object:
    return await kube.until(PODS, "pod", namespace, lambda pod: pod["status"]["phase"] == phase)


def state(pod: Object, name: str = "main") -> Object:
    status = pod["status"]
    every = [*status.get("initContainerStatuses", ()), *status["containerStatuses"]]
    found: Object = next(one["state"] for one in every if one["name"] == name)
    return found


@pytest.mark.usefixtures("node")
async def test_an_exit_code_and_a_termination_message_reach_the_status(
    kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    await run(kube, namespace, container(program(tmp_path, "bad", "out=hello fail=65")))
    ended = state(await in_phase(kube, namespace, "Failed"))["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (65, "Error")
    assert "rows.jsonl:7" in ended["message"]


@pytest.mark.usefixtures("node")
async def test_a_sidecar_starts_first_and_ends_last(kube: KubeClient, namespace: str, tmp_path: Path) -> None:
    side = program(tmp_path, "side", "note-on-term=ended touch=side hang")
    mounts = [{"name": "work", "mountPath": "/plumbline/work"}]
    work: dict[str, Any] = {"volumeMounts": mounts, "args": ["--work", "/plumbline/work"]}
    main = program(tmp_path, "main", "wait=side succeed")
    sidecar = container(side, "side", restartPolicy="Always", **work)
    volumes = [{"name": "work", "emptyDir": {}}]
    await run(kube, namespace, container(main, **work), initContainers=[sidecar], volumes=volumes)
    pod = await in_phase(kube, namespace, "Succeeded")
    assert state(pod)["terminated"]["exitCode"] == 0
    assert state(pod, "side")["terminated"]["finishedAt"] >= state(pod)["terminated"]["finishedAt"]
    assert (tmp_path / "side.notes").read_text() == "ended\n"


@pytest.mark.usefixtures("node")
async def test_what_has_to_end_before_others_start_is_done_once_it_has_ended_well(
    kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    first, main = program(tmp_path, "first", "exit=3", "succeed"), program(tmp_path, "main", "exit=3", "exit=3", "hang")
    initial = [container(first, "first")]
    await run(kube, namespace, container(main), initContainers=initial, restartPolicy="Always")
    pod = await kube.until(PODS, "pod", namespace, lambda found: _restarts(found) == 2 and "running" in state(found))
    assert (state(pod, "first")["terminated"]["exitCode"], len(starts(first))) == (0, 2)


async def test_a_deleted_pod_gets_its_grace_and_then_none(
    kube: KubeClient, namespace: str, tmp_path: Path, node: Node
) -> None:
    await run(kube, namespace, container(program(tmp_path, "stubborn", "ignore-term note=deaf hang")))
    await eventually(lambda: asyncio.to_thread((tmp_path / "stubborn.notes").exists))
    begun = time.monotonic()
    await kube.call("DELETE", PODS.path(namespace, "pod"), {"gracePeriodSeconds": 1})
    while await kube.find(PODS, "pod", namespace) is not None:
        assert time.monotonic() - begun < 20
    assert time.monotonic() - begun > 0.9
    (life,) = node.pods()
    assert life.main[0].end is not None
    assert life.main[0].end["exitCode"] == 137


@pytest.mark.usefixtures("node")
async def test_a_container_that_ends_is_started_again_where_its_policy_says_so(
    kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    await run(kube, namespace, container(program(tmp_path, "shaky", "exit=3", "hang")), restartPolicy="Always")
    pod = await kube.until(PODS, "pod", namespace, lambda found: _restarts(found) == 1 and "running" in state(found))
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3


def _restarts(pod: Object) -> int:
    return sum(one["restartCount"] for one in pod["status"].get("containerStatuses") or ())


async def test_a_pod_waits_for_its_config_map_and_finds_the_token_it_asked_for(
    kube: KubeClient, namespace: str, tmp_path: Path, node: Node
) -> None:
    await enforce_restricted(kube, namespace)
    safe = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    safe["seccompProfile"] = {"type": "RuntimeDefault"}
    token = {"serviceAccountToken": {"path": "token", "audience": "somebody", "expirationSeconds": 600}}
    volumes = [{"name": "all", "projected": {"sources": [token, {"configMap": {"name": "late"}}]}}]
    made = container(program(tmp_path, "reader", "need=late.txt need=token succeed"), securityContext=safe)
    made |= {"args": ["--work", "/all"], "volumeMounts": [{"name": "all", "mountPath": "/all"}]}
    await run(kube, namespace, made, volumes=volumes, serviceAccountName="trainer")
    await kube.until(PODS, "pod", namespace, lambda pod: "late" in str(pod["status"].get("containerStatuses")))
    await kube.create(CONFIG_MAPS, {"metadata": {"name": "late"}, "data": {"late.txt": "here"}}, namespace)
    await in_phase(kube, namespace, "Succeeded")
    (life,) = node.pods()
    shown = (life.folder / "volumes/all/token").read_text()
    review = await kube.create(REVIEWS, {"spec": {"token": shown, "audiences": ["somebody"]}})
    user = review["status"]["user"]
    assert user["username"] == f"system:serviceaccount:{namespace}:trainer"
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["pod"]


@pytest.mark.usefixtures("node")
async def test_a_claim_leads_to_the_folder_of_its_volume(kube: KubeClient, namespace: str, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "there").touch()
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    volume = {"capacity": {"storage": "1Gi"}, "hostPath": {"path": str(shared)}, **common}
    name = f"shared-{namespace}"
    await kube.create(VOLUMES, {"metadata": {"name": name}, "spec": volume})
    wanted = {"resources": {"requests": {"storage": "1Gi"}}, "volumeName": name, **common}
    await kube.create(CLAIMS, {"metadata": {"name": "store"}, "spec": wanted}, namespace)
    await kube.until(CLAIMS, "store", namespace, lambda claim: claim["status"].get("phase") == "Bound")
    made = container(program(tmp_path, "reader", "need=there touch=made succeed"), args=["--work", "/store"])
    made["volumeMounts"] = [{"name": "store", "mountPath": "/store"}]
    volumes = [{"name": "store", "persistentVolumeClaim": {"claimName": "store"}}]
    await run(kube, namespace, made, volumes=volumes)
    await in_phase(kube, namespace, "Succeeded")
    assert (shared / "made").is_file()
    await kube.delete(VOLUMES, name)
