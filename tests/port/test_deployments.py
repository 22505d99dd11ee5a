"""A served pod stays up, comes back, says what is wrong, and ends with whoever holds the state directory."""

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.names import PORT_ENGINE, PORT_GUARD, ExitCode
from plumbline_api.reasons import Reason
from plumbline_operator.decision import Child
from plumbline_operator.local.errors import PortInUse
from plumbline_operator.local.podplan import Probe
from plumbline_operator.local.ports import check_free
from plumbline_operator.local.probe import answers
from plumbline_operator.observed import ChildRef, DeploymentState
from plumbline_operator.plan.pods import config_map, container, http_probe, port_env
from tests.port.place import OWNER, TINY, Place, exists, open_place, until, until_true
from tests.support.programs import program

pytestmark = pytest.mark.local

PORTS = {PORT_ENGINE: 8000, PORT_GUARD: 8080}


def probed(name: str, port: str, **more: Any) -> dict[str, Any]:
    made = container(
        name, "image", [f"plumbline-{name}"], compute=TINY, env=port_env(PORTS), ports={port: PORTS[port]}, **more
    )
    return {**made, "readinessProbe": http_probe("/readyz", port, period=1, failures=1) | {"periodSeconds": 0.05}}


async def serve(place: Place) -> None:
    """Apply a Deployment of guard and engine."""
    guard = probed("guard", PORT_GUARD, mounts={"policy": "/plumbline/policy"})
    spec = {
        "terminationGracePeriodSeconds": 5,
        "containers": [guard, probed("engine", PORT_ENGINE)],
        "volumes": [{"name": "policy", "configMap": {"name": "served"}}],
    }
    metadata = {"name": "served", "namespace": "default"}
    manifest = {"kind": "Deployment", "metadata": metadata, "spec": {"template": {"spec": spec}}}
    maps = config_map("served", "default", {}, {"policy.json": "{}"})
    await place.cluster.apply(OWNER, Child(ChildRef("ConfigMap", "served"), maps))
    await place.cluster.apply(OWNER, Child(ChildRef("Deployment", "served"), manifest))


async def state(place: Place) -> DeploymentState:
    (found,) = (await place.sight()).deployments
    return found


async def both_ready(place: Place) -> DeploymentState:
    return await until(lambda: state(place), lambda now: now.engine_ready and now.guard_ready)


async def test_engine_and_guard_come_up_on_ports_of_their_own(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "listen=ENGINE")
    program(tmp_path / "bin", "plumbline-guard", "listen=GUARD")
    async with open_place(tmp_path) as place:
        await serve(place)
        now = await both_ready(place)
        assert now.problem is None
        assert now.endpoint is not None
        port = int(now.endpoint.rpartition(":")[2])
        assert answers(Probe("/readyz", port, period=1, failures=1))
        policy = tmp_path / "state/deployments/default/served/guard/1/volumes/policy/policy.json"
        assert policy.read_text() == "{}"


async def test_readiness_is_told_by_container(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "listen-until=ENGINE")
    program(tmp_path / "bin", "plumbline-guard", "listen=GUARD")
    async with open_place(tmp_path) as place:
        await serve(place)
        now = await until(lambda: state(place), lambda now: now.guard_ready)
        assert not now.engine_ready
        ready = tmp_path / "bin/plumbline-engine.ready"
        ready.touch()
        await both_ready(place)
        ready.unlink()
        assert (await until(lambda: state(place), lambda now: not now.engine_ready)).guard_ready


async def test_an_engine_that_ends_is_started_again_while_the_guard_stays(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "listen=ENGINE")
    program(tmp_path / "bin", "plumbline-guard", "listen=GUARD")
    async with open_place(tmp_path) as place:
        await serve(place)
        await both_ready(place)
        (guard,), (engine,) = place.started("plumbline-guard"), place.started("plumbline-engine")
        os.kill(engine, signal.SIGKILL)
        await until_true(lambda: len(place.started("plumbline-engine")) == 2)
        now = await both_ready(place)
        assert now.problem is None
        assert place.started("plumbline-guard") == [guard]


async def test_a_container_that_never_stays_up_is_a_problem(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "exit=70")
    program(tmp_path / "bin", "plumbline-guard", "listen=GUARD")
    async with open_place(tmp_path) as place:
        await serve(place)
        problem = (await until(lambda: state(place), lambda now: now.problem is not None)).problem
        assert problem is not None
        assert "container engine ended with 70, 3 times in a row; log: " in problem.message


async def test_a_container_that_says_why_it_cannot_run_is_a_problem_at_once(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "fail=65")
    program(tmp_path / "bin", "plumbline-guard", "listen=GUARD")
    async with open_place(tmp_path, first_delay=30.0, longest_delay=60.0) as place:
        await serve(place)
        problem = (await until(lambda: state(place), lambda now: now.problem is not None)).problem
        assert problem is not None
        assert problem.reason == Reason.BAD_DATA


async def test_a_container_that_recovers_is_no_problem_any_more(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "exit=78", "listen=ENGINE")
    program(tmp_path / "bin", "plumbline-guard", "listen=GUARD")
    async with open_place(tmp_path) as place:
        await serve(place)
        assert (await both_ready(place)).problem is None


async def test_a_deployment_ends_with_its_cluster_and_starts_with_the_next(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "listen=ENGINE")
    program(tmp_path / "bin", "plumbline-guard", "listen=GUARD")
    async with open_place(tmp_path) as place:
        await serve(place)
        await both_ready(place)
        (engine,) = place.started("plumbline-engine")
    assert not exists(engine)
    async with open_place(tmp_path) as place:
        assert not (await state(place)).engine_ready
        place.cluster.workload.resume(frozenset([OWNER]))
        await both_ready(place)


async def test_a_deleted_deployment_is_gone(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "listen=ENGINE")
    program(tmp_path / "bin", "plumbline-guard", "listen=GUARD")
    async with open_place(tmp_path) as place:
        await serve(place)
        await both_ready(place)
        (engine,) = place.started("plumbline-engine")
        await place.cluster.delete(OWNER, ChildRef("Deployment", "served"))
        assert not exists(engine)
        assert (await place.sight()).deployments == ()


async def test_the_guards_port_can_be_chosen(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "listen=ENGINE")
    program(tmp_path / "bin", "plumbline-guard", "listen=GUARD")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    async with open_place(tmp_path, guard_port=port) as place:
        await serve(place)
        assert (await both_ready(place)).endpoint == f"http://127.0.0.1:{port}"


def test_a_port_in_use_is_told_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1: address already in use; .*--port") as caught:
            check_free(port)
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
