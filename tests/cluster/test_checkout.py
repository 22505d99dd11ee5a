"""Pods with vLLM on a real API server, with the real program before it: a model that is not what it must be ends there.

The Job controller, the Deployment's and the scheduler are Kubernetes' own; the node runs pods as processes.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_api.names import CONTAINER_ENGINE
from plumbline_api.reasons import Reason
from plumbline_api.rules import GuardRules
from plumbline_api.runfile import Input
from plumbline_operator.decision import Child
from plumbline_operator.kube.workloads.states import deployment_state
from plumbline_operator.observed import JobPhase, Runtime
from plumbline_operator.plan.evaluation import plan_evaluation
from plumbline_operator.plan.serving import plan_serving
from plumbline_store import open_store
from tests.cluster.client import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, KubeClient, eventually
from tests.cluster.node import process_node
from tests.cluster.pods import make, state_with
from tests.support import build, planned
from tests.support.signing import make_pair
from tests.support.world import key_of
from tests.unit.store.places import FolderPlaces, flip

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
async def node(kube: KubeClient, namespace: str, tmp_path: Path) -> AsyncIterator[None]:
    async with process_node(kube, tmp_path / "node", namespace):
        yield
        for name in [one["metadata"]["name"] for one in await kube.items(DEPLOYMENTS, namespace)]:
            await kube.delete(DEPLOYMENTS, name, namespace)


def damaged(folder: Path) -> tuple[Runtime, Input]:
    """A store with a model of which one bit is another."""
    store = open_store((folder / "store").as_uri())
    digest = store.publish_bytes({"config.json": b"{}", "model.safetensors": b"weights"}, MediaType.MODEL).digest
    (weights,) = [file for file in store.manifest(digest).files if file.path == "model.safetensors"]
    flip(FolderPlaces(folder / "store"), f"blobs/sha256/{weights.sha256[:2]}/{weights.sha256}")
    return replace(build.RUNTIME, store=store.uri), Input(uri=store.uri, digest=digest)


def unsigned(folder: Path) -> tuple[Runtime, Input]:
    """A store with a model that nobody has signed, where somebody must."""
    store = open_store((folder / "store").as_uri())
    digest = store.publish_bytes({"config.json": b"{}"}, MediaType.MODEL).digest
    trust = make_pair(folder / "keys").public
    return replace(build.RUNTIME, store=store.uri, trust=trust), Input(uri=store.uri, digest=digest)


async def create(kube: KubeClient, namespace: str, children: tuple[Child, ...]) -> str:
    """The ConfigMap and what needs it; the name of both."""
    await make(kube, namespace, CONFIG_MAPS, children[0])
    made = await make(kube, namespace, JOBS if children[1].ref.kind == "Job" else DEPLOYMENTS, children[1])
    return str(made["metadata"]["name"])


async def test_a_damaged_model_ends_an_evaluation_before_vllm_starts(
    kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    runtime, model = damaged(tmp_path)
    gate = build.gate(engine=planned.VLLM)
    children = plan_evaluation(key_of(gate), gate, build.suite(), model, runtime, attempt=1)
    name = await create(kube, namespace, children)
    state = await state_with(kube, namespace, name, phase=JobPhase.FAILED)
    assert state.problem is not None
    assert state.problem.reason == Reason.DIGEST_MISMATCH
    (pod,) = await kube.items(PODS, namespace)
    (engine,) = [one for one in pod["status"]["initContainerStatuses"] if one["name"] == CONTAINER_ENGINE]
    assert "waiting" in engine["state"]


async def test_a_model_that_nobody_signed_is_told_by_what_would_serve_it(
    kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    runtime, model = unsigned(tmp_path)
    wanted = build.inference(engine=planned.VLLM)
    children = plan_serving(key_of(wanted), wanted, model, GuardRules(), runtime)
    name = await create(kube, namespace, children)

    async def look() -> Reason | None:
        deployment = await kube.get(DEPLOYMENTS, name, namespace)
        state = deployment_state(deployment, await kube.items(PODS, namespace), None, datetime.now(UTC))
        return state.problem.reason if state.problem is not None and state.hopeless else None

    assert await eventually(look, 40) == Reason.SIGNATURE_INVALID
