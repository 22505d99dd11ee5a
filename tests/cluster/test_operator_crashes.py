"""An operator that is killed loses nothing and does nothing twice, whatever it had just done."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.names import Kind
from plumbline_operator.kube.assembly import Operator
from plumbline_operator.kube.client import KubeClient as OperatorClient
from plumbline_operator.kube.settings import KubeSettings
from tests.cluster.client import JOBS, KubeClient, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.operating import (
    apply,
    apply_inputs,
    children,
    finish_job,
    jobs_of,
    operator_process,
    serve_kinds,
    status_where,
)
from tests.cluster.proxy import Passed, Proxy, proxy
from tests.support import build

pytestmark = pytest.mark.cluster

RUN = Kind.ALIGNMENT_RUN
RUNS = KINDS[RUN]
STAGES = 2


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


# After every single call


async def crash(operator: Operator, before: set[asyncio.Task[object]]) -> None:
    """End an operator of this process as kill -9 ends one: no turn is finished, nothing is said or given back."""
    for task in asyncio.all_tasks() - before - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)
    await operator.server.close()
    await operator.client.close()


async def live_until(
    gateway: Proxy, namespace: str, done: Callable[[], Awaitable[bool]], crash_after: int
) -> tuple[bool, list[Passed]]:
    """One life of an operator: until everything is done, or until so many writes; whether it was done, the writes."""
    gateway.cut_after = crash_after
    gateway.silent.clear()
    gateway.passed.clear()
    before = asyncio.all_tasks()
    settings = KubeSettings(
        runtime=build.RUNTIME, namespaces=(namespace,), host="127.0.0.1", port=0, workers=16, poll=1.0
    )
    operator = Operator(settings, connect=lambda count: OperatorClient(gateway.login(), count=count))
    await operator.start()
    try:
        async with asyncio.timeout(90):
            while not gateway.silent.is_set():
                if await done():
                    return True, gateway.writes
                await asyncio.sleep(0.05)
        return False, gateway.writes
    finally:
        await crash(operator, before)


async def play_kubelet(kube: KubeClient, namespace: str) -> None:
    """Let every Job end well, in the order of its making; for ever."""
    ended = 0
    while True:
        jobs = sorted(await kube.items(JOBS, namespace), key=lambda job: job["metadata"]["creationTimestamp"])
        for job in jobs[ended:]:
            await finish_job(kube, namespace, job["metadata"]["name"], build.training_summary(f"stage {ended}"))
            ended += 1
        await asyncio.sleep(0.05)


@pytest.mark.timeout(280)
async def test_a_crash_after_any_write_loses_nothing_and_doubles_nothing(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    """Run after run, each with a crash after its first, second, third ... write, and another life after that."""
    await apply_inputs(kube, namespace)
    undisturbed = 0
    async with proxy(control_plane) as gateway:
        for number in count(1):
            name = f"crash-{number}"
            await apply(kube, namespace, build.run(name, stages=STAGES))
            kubelet = asyncio.create_task(play_kubelet(kube, namespace))
            try:
                ended, first = await live_until(gateway, namespace, partial(succeeded, kube, namespace, name), number)
                writes = list(first)
                while not ended:
                    ended, more = await live_until(gateway, namespace, partial(succeeded, kube, namespace, name), 0)
                    writes += more
            finally:
                kubelet.cancel()
            await check_end(kube, namespace, name, writes)
            await kube.delete(RUNS, name, namespace)
            await eventually(partial(nothing_left, kube, namespace), 60)
            if len(first) < number:
                undisturbed = len(first)
                break
    assert undisturbed >= 2 * STAGES + 2, "at least two writes a stage, and the end"


async def succeeded(kube: KubeClient, namespace: str, name: str) -> bool:
    run = await kube.get(RUNS, name, namespace)
    return bool((run.get("status") or {}).get("phase") == "Succeeded")


async def nothing_left(kube: KubeClient, namespace: str) -> bool:
    return not any((await children(kube, namespace)).values())


async def check_end(kube: KubeClient, namespace: str, name: str, writes: list[Passed]) -> None:
    run = await kube.get(RUNS, name, namespace)
    assert [row["state"] for row in run["status"]["stages"]] == ["Succeeded"] * STAGES
    assert run["status"]["output"] == build.training_summary(f"stage {STAGES - 1}").output.digest  # type: ignore[union-attr]
    found = await children(kube, namespace)
    assert len(found["jobs"]) == len(found["configmaps"]) == len(found["pods"]) == STAGES
    assert sorted(row["job"] for row in run["status"]["stages"]) == found["jobs"]
    made = [write for write in writes if write.method == "POST" and write.path.endswith("/jobs")]
    assert len(made) == STAGES, "no Job was made a second time"
