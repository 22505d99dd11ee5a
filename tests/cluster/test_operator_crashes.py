"""An operator that is killed loses nothing and does nothing twice, whatever it had just done."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.names import Kind
from tests.cluster.client import JOBS, KubeClient
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.faults.quick import Orders, quick_operator
from tests.cluster.operating import (
    apply,
    apply_inputs,
    finish_job,
    jobs_of,
    operator_process,
    serve_kinds,
    status_where,
)
from tests.cluster.proxy import Refusal, proxy
from tests.support import build

pytestmark = pytest.mark.cluster

RUN = Kind.ALIGNMENT_RUN
RUNS = KINDS[RUN]
STAGES = 2
BROKEN: Refusal = (500, {"reason": "InternalError", "message": "etcdserver: request timed out"})


@pytest.fixture(autouse=True)
async def kinds(kube: KubeClient) -> None:
    await serve_kinds(kube)


async def test_a_killed_operator_is_followed_by_one_that_goes_on(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    """Killed while a Job runs, and again after the Job has ended unseen."""
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run(stages=STAGES))
    known: set[str] = set()
    for number in range(STAGES):
        with operator_process(control_plane.kubeconfig, tmp_path, "--namespace", namespace) as operator:
            await operator.until_at_work()
            jobs = {job["metadata"]["name"] for job in await jobs_of(kube, namespace, number + 1)}
            operator.kill()
        (name,) = jobs - known
        known = jobs
        await finish_job(kube, namespace, name, build.training_summary(f"stage {number}"))
    with operator_process(control_plane.kubeconfig, tmp_path, "--namespace", namespace) as operator:
        run = await status_where(kube, namespace, RUN, "base", phase="Succeeded")
        assert await operator_stops(operator.popen.terminate, operator.ended) == 0
    assert {job["metadata"]["name"] for job in await kube.items(JOBS, namespace)} == known
    assert {row["job"] for row in run["status"]["stages"]} == known


async def operator_stops(stop: Any, ended: Any) -> int:
    stop()
    return int(await ended(10))


async def test_sigterm_ends_the_operator_within_five_seconds(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    with operator_process(control_plane.kubeconfig, tmp_path, "--namespace", namespace) as operator:
        await operator.until_at_work()
        begun = asyncio.get_running_loop().time()
        assert await operator_stops(operator.popen.terminate, operator.ended) == 0
        assert asyncio.get_running_loop().time() - begun < 5
        assert operator.lines("stopped")


async def test_sigterm_ends_the_operator_as_soon_while_kopf_still_asks_what_there_is(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Its first questions are refused, so that it asks again for half a minute."""
    async with proxy(control_plane) as gateway:
        gateway.refuse = lambda what: BROKEN if what.path in ("/api", "/apis") else None
        with quick_operator(tmp_path, Orders(gateway.url, namespace, check_permissions=False)) as operator:
            await operator.until_logged("at work")
            begun = asyncio.get_running_loop().time()
            operator.process.terminate()
            assert await operator.ended() == 0
            assert asyncio.get_running_loop().time() - begun < 5


async def test_kopf_run_runs_the_same_operator(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    command = ("-m", "kopf", "run", "--log-format=json", "-m", "plumbline_operator.kube.main", "-n", namespace)
    with operator_process(
        control_plane.kubeconfig, tmp_path, command=command, environment={"PLUMBLINE_NAMESPACES": namespace}
    ) as operator:
        await apply_inputs(kube, namespace)
        await apply(kube, namespace, build.run())
        assert len(await jobs_of(kube, namespace)) == 1
        assert await operator_stops(operator.popen.terminate, operator.ended) == 0
