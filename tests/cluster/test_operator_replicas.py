"""Two replicas and one lease: one works, the other follows when it must, and never both."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from plumbline_api.names import ExitCode, Kind
from tests.cluster.client import JOBS, KubeClient, Resource, eventually
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

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(290)]

LEASES = Resource("coordination.k8s.io", "v1", "leases")
RUN = Kind.ALIGNMENT_RUN
TAKEN = "lease taken"


@pytest.fixture(autouse=True)
async def kinds(kube: KubeClient) -> None:
    await serve_kinds(kube)


def flags(namespace: str) -> tuple[str, ...]:
    return "--namespace", namespace, "--lease-namespace", namespace


async def ready(operator: Process) -> dict[str, object]:
    """What the replica says of itself, once it knows the cluster."""
    port = (await operator.until_logged("started", 150))["port"]

    async def look() -> dict[str, object]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            found = json.loads(await answer.read())
            return found if answer.status == 200 else {}

    return await eventually(look, 60)


async def test_a_killed_leader_is_followed_and_a_stopped_one_at_once(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    await apply_inputs(kube, namespace)
    config = control_plane.kubeconfig
    with (
        operator_process(config, tmp_path, *flags(namespace), name="one") as one,
        operator_process(config, tmp_path, *flags(namespace), name="two") as two,
    ):
        states = {id(one): await ready(one), id(two): await ready(two)}
        leader, follower = (one, two) if one.lines(TAKEN) else (two, one)
        assert bool(leader.lines(TAKEN)) is not bool(follower.lines(TAKEN))
        assert states[id(follower)]["working"] is False, "a follower is ready and does nothing"
        await apply(kube, namespace, build.run())
        (job,) = await jobs_of(kube, namespace)

        leader.kill()
        await follower.until_logged(TAKEN, 60)
        await finish_job(kube, namespace, job["metadata"]["name"], build.training_summary("made"))
        await status_where(kube, namespace, RUN, "base", phase="Succeeded")
        assert len(await kube.items(JOBS, namespace)) == 1

        with operator_process(config, tmp_path, *flags(namespace), name="three") as third:
            await ready(third)
            follower.popen.terminate()
            assert await follower.ended(10) == 0
            begun = asyncio.get_running_loop().time()
            await third.until_logged(TAKEN, 60)
            assert asyncio.get_running_loop().time() - begun < 10, "a lease that was given back is free at once"
        lease = await kube.get(LEASES, "plumbline-operator", namespace)
        assert lease["spec"]["leaseTransitions"] == 3


async def test_a_leader_that_finds_another_holder_ends_and_writes_nothing_more(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    await apply_inputs(kube, namespace)
    with operator_process(control_plane.kubeconfig, tmp_path, *flags(namespace)) as operator:
        await operator.until_at_work()
        stolen = {"spec": {"holderIdentity": "somebody-else"}}
        await kube.merge(LEASES, "plumbline-operator", stolen, namespace)
        assert await operator.ended(30) == ExitCode.UNAVAILABLE
        await apply(kube, namespace, build.run())
        await asyncio.sleep(1)
        assert await kube.items(JOBS, namespace) == []
        lease = await kube.get(LEASES, "plumbline-operator", namespace)
        assert lease["spec"]["holderIdentity"] == "somebody-else", "what is not ours is not given back"
