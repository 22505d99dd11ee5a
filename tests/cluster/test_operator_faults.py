"""What an operator survives: refusals of every kind, broken streams, an API server that goes and comes back."""

import asyncio
from collections.abc import Callable
from itertools import count

import pytest

from plumbline_api.names import Kind
from plumbline_operator.kube.assembly import Operator
from tests.cluster.client import EVENTS, JOBS, KubeClient, Object, eventually
from tests.cluster.controlplane import ControlPlane, Options, control_plane
from tests.cluster.crds import KINDS
from tests.cluster.operating import (
    apply,
    apply_inputs,
    children,
    connect,
    finish_job,
    jobs_of,
    running_operator,
    serve_kinds,
    status_where,
)
from tests.cluster.programs import Programs
from tests.cluster.proxy import Passed, Proxy, Refusal, proxy
from tests.support import build

pytestmark = pytest.mark.cluster

RUN = Kind.ALIGNMENT_RUN
RUNS = KINDS[RUN]
STAGES = 2


@pytest.fixture(autouse=True)
async def kinds(kube: KubeClient) -> None:
    await serve_kinds(kube)


def every_third(refusal: Refusal) -> Callable[[Passed], Refusal | None]:
    """Refuse every third write."""
    numbers = count(1)
    return lambda what: refusal if what.writes and next(numbers) % 3 == 0 else None


async def live(kube: KubeClient, namespace: str, name: str = "base") -> None:
    """A whole run: both Jobs end well."""
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run(name, stages=STAGES))
    known: set[str] = set()
    for number in range(STAGES):
        jobs = {job["metadata"]["name"] for job in await jobs_of(kube, namespace, number + 1)}
        (fresh,) = jobs - known
        known = jobs
        await finish_job(kube, namespace, fresh, build.training_summary(f"stage {number}"))
    await status_where(kube, namespace, RUN, name, phase="Succeeded")
    found = await children(kube, namespace)
    assert len(found["jobs"]) == len(found["configmaps"]) == STAGES


CONFLICT = (409, {"reason": "Conflict", "message": "the object has been modified"})
BUSY = (429, {"reason": "TooManyRequests", "message": "busy", "details": {"retryAfterSeconds": 1}})
BROKEN = (500, {"reason": "InternalError", "message": "etcdserver: request timed out"})
AWAY = (503, {"reason": "ServiceUnavailable", "message": "apiserver not ready"})


@pytest.mark.parametrize("refusal", [CONFLICT, BUSY, BROKEN, AWAY], ids=lambda refusal: str(refusal[0]))
async def test_a_run_comes_to_the_same_end_though_every_third_write_is_refused(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, refusal: Refusal
) -> None:
    async with proxy(control_plane) as gateway:
        gateway.refuse = every_third(refusal)
        async with running_operator(gateway.login(), namespace):
            await live(kube, namespace)
        assert [status for _, status in gateway.passed].count(refusal[0]) >= 2


async def test_a_run_comes_to_the_same_end_though_its_watches_break_all_the_time(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    async with proxy(control_plane) as gateway:
        broken: list[int] = []

        async def keep_breaking() -> None:
            while True:
                await asyncio.sleep(0.3)
                broken.append(gateway.drop_watches())

        async with running_operator(gateway.login(), namespace) as operator:
            breaking = asyncio.create_task(keep_breaking())
            try:
                await live(kube, namespace)
            finally:
                breaking.cancel()
            assert not operator.failed.is_set()
        assert sum(broken) >= 11


async def test_what_vanished_while_no_watch_was_there_is_noticed(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    """The Job and one run are deleted while the operator is deaf, and the versions it knows are forgotten."""
    await apply_inputs(kube, namespace)
    async with proxy(control_plane) as gateway, running_operator(gateway.login(), namespace) as operator:
        await apply(kube, namespace, build.run(), build.run("other"))
        jobs = await jobs_of(kube, namespace, 2)
        await until_quiet(operator)
        deaf(gateway)
        (lost,) = [job["metadata"]["name"] for job in jobs if job["metadata"]["name"].startswith("base")]
        await kube.delete(JOBS, lost, namespace)
        await kube.delete(RUNS, "other", namespace)
        await eventually(lambda: gone(kube, namespace, lost, jobs), 60)
        assert len(operator.cache.keys()) == 2, "it has not heard of anything"
        made_anew = [job["metadata"]["uid"] for job in jobs]
        gateway.refuse = forgotten()

        async def is_made_again() -> bool:
            found = await kube.find(JOBS, lost, namespace)
            return found is not None and found["metadata"]["uid"] not in made_anew

        await eventually(is_made_again, 60)
        assert [key.name for key in operator.cache.keys()] == ["base"]


def deaf(gateway: Proxy) -> None:
    gateway.refuse = lambda what: AWAY if what.watch or what.method == "GET" else None
    gateway.drop_watches()


def forgotten() -> Callable[[Passed], Refusal | None]:
    """Every watch that is asked for first is told that its version is too old."""
    told: set[str] = set()

    def refuse(what: Passed) -> Refusal | None:
        if not what.watch or what.path in told:
            return None
        told.add(what.path)
        return 410, {"reason": "Expired", "message": "too old resource version"}

    return refuse


async def gone(kube: KubeClient, namespace: str, lost: str, before: list[Object]) -> bool:
    left = await kube.items(JOBS, namespace)
    return lost not in [job["metadata"]["name"] for job in left] and len(left) < len(before)


async def until_quiet(operator: Operator) -> None:
    async def is_quiet() -> bool:
        await asyncio.sleep(0.3)
        return operator.queue.depth == operator.queue.working == 0

    await eventually(is_quiet)


async def test_a_new_status_of_another_writer_is_not_written_over(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    """The operator is told too late of a change: its write is refused, and what it writes then knows the change."""
    await apply_inputs(kube, namespace)
    async with proxy(control_plane) as gateway, running_operator(gateway.login(), namespace):
        seen: list[Passed] = []

        def change_first(what: Passed) -> Refusal | None:
            if what.path.endswith("/base/status") and not seen:
                seen.append(what)
                raised = {"metadata": {"annotations": {"plumbline.dev/retry": "now"}}}
                asyncio.get_running_loop().create_task(kube.merge(RUNS, "base", raised, namespace))
                return CONFLICT
            return None

        gateway.refuse = change_first
        await apply(kube, namespace, build.run())
        run = await status_where(kube, namespace, RUN, "base", retry="now")
        assert len(await kube.items(JOBS, namespace)) == 1
        assert run["status"]["attempt"] == 1
        conflicts = [what for what, status in gateway.passed if status == 409 and what.path.endswith("/status")]
        assert conflicts


@pytest.mark.timeout(290)
async def test_an_api_server_that_restarts_is_found_again(programs: Programs, tmp_path: object) -> None:
    with control_plane(programs, Options()) as plane:
        async with plane.client() as kube:
            await serve_kinds(kube)
            await apply_inputs(kube, "default")
            async with running_operator(connect(plane), "default") as operator:
                await apply(kube, "default", build.run("before"))
                await jobs_of(kube, "default")
                plane.api.kill()
                await asyncio.sleep(1)
                assert operator.health().alive
                plane.api.start()
                await asyncio.to_thread(plane.wait_ready)
                await serve_kinds(kube)
                await apply(kube, "default", build.run("after"))
                assert len(await jobs_of(kube, "default", 2)) == 2
                await status_where(kube, "default", RUN, "after", observedGeneration=1)
                assert operator.health().ready


async def test_an_event_that_is_refused_hinders_nothing(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    async with proxy(control_plane) as gateway:
        gateway.refuse = lambda what: BROKEN if "events.k8s.io" in what.path else None
        async with running_operator(gateway.login(), namespace) as operator:
            await live(kube, namespace)
            await until_quiet(operator)
            assert operator.events.dropped >= 1
    ours = [one for one in await kube.items(EVENTS, namespace) if one["involvedObject"]["kind"] == RUN]
    assert ours == []
