"""Pods as they are planned, run by local mode with the real programs: their probes find guard and engine."""

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest

from plumbline_api.rules import GuardRules
from plumbline_api.runfile import Input
from plumbline_operator.local.cluster import LocalCluster
from plumbline_operator.local.layout import open_layout
from plumbline_operator.local.records import key_of
from plumbline_operator.local.settings import read_settings
from plumbline_operator.observed import DeploymentState
from plumbline_operator.plan.serving import plan_front, plan_serving
from plumbline_store import open_store
from tests.port.place import until
from tests.support import build
from tests.support.engine_process import make_talkative_model, store_model

pytestmark = pytest.mark.local


async def test_a_served_pod_as_planned_comes_up_with_its_probes_at_the_guard(tmp_path: Path) -> None:
    layout = open_layout(tmp_path / "state", create=True)
    digest = store_model(make_talkative_model(tmp_path / "model"), layout.store).digest
    store = open_store(layout.store.as_uri())
    cluster = LocalCluster(layout, read_settings({}), lambda: build.NOON, lambda: None)
    wanted = build.inference(guard={"refusal": {"text": "No."}})
    key = key_of(wanted)
    cluster.records.keep(wanted, file=str(tmp_path / "served.yaml"), uid="1", now=build.NOON)
    sight = await cluster.observe(key)
    assert sight is not None
    runtime = sight[1].runtime
    served = plan_serving(key, wanted, Input(uri=store.uri, digest=digest), GuardRules(), runtime)
    for child in (*plan_front(key, wanted, runtime), *served):
        await cluster.apply(key, child)

    async def look() -> DeploymentState:
        found = await cluster.observe(key)
        assert found is not None
        (state,) = found[1].deployments
        return state

    try:
        state = await until(look, lambda now: now.engine_ready and now.guard_ready, 120.0)
        assert state.problem is None
        told = await asyncio.to_thread(ask, f"{state.endpoint}/v1/models")
        assert told["data"][0]["digest"] == digest
    finally:
        await cluster.workload.close()


def ask(url: str) -> dict[str, list[dict[str, str]]]:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own guard, on loopback
        found: dict[str, list[dict[str, str]]] = json.load(answer)
    return found
