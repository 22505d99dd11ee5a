"""The control plane itself fails: the API server ends and begins anew, etcd stands still or crawls."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane, control_plane
from tests.cluster.faults.ledger import Fault
from tests.cluster.faults.life import PATIENCE, Life, unlike
from tests.cluster.faults.nodes import nodes
from tests.cluster.faults.quick import Orders, quick_operator
from tests.cluster.faults.witness import Witness, witnessing
from tests.cluster.operating import serve_kinds
from tests.cluster.programs import Programs
from tests.cluster.proxy import proxy

pytestmark = pytest.mark.cluster

Opener = Callable[[str, str], Fault]
Times = Callable[[int, int], int]


@pytest.fixture(scope="module")
def plane(programs: Programs) -> Iterator[ControlPlane]:
    """A control plane that may be mistreated."""
    with control_plane(programs) as made:
        yield made


@dataclass(frozen=True)
class Lives:
    """Several at once on a control plane, each with an operator of its own."""

    plane: ControlPlane
    witness: Witness
    folder: Path

    async def live(self, life: Life, begun: asyncio.Event) -> bool:
        """One of them; whether it comes to its end."""
        async with proxy(self.plane) as gateway:
            with quick_operator(self.folder, Orders(gateway.url, life.namespace), life.namespace) as operator:
                await operator.until_logged("at work")
                begun.set()
                ended = await life.ended(2 * PATIENCE)
                assert operator.running, "it has outlived everything"
                return ended

    async def disturbed(self, fault: Fault, lives: int, disturb: Callable[[], AsyncIterator[None]]) -> None:
        """Let so many live, and disturb them all until the disturbance is over."""
        begun = [await Life.begin(self.witness.kube, self.witness) for _ in range(lives)]
        events = [asyncio.Event() for _ in begun]
        under_way = [asyncio.create_task(self.live(*one)) for one in zip(begun, events, strict=True)]
        await asyncio.wait([asyncio.create_task(event.wait()) for event in events])
        async for _ in disturb():
            fault.count(struck=1)
        await asyncio.gather(*under_way)
        for life in begun:
            life.count(fault, struck=0)
        ends = [await life.end() for life in begun]
        assert unlike(ends[0], enumerate(ends)) == {}
        fault.check()


@pytest.fixture
async def lives(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Lives]:
    async with plane.client() as kube:
        await serve_kinds(kube)
        async with witnessing(kube) as witness, nodes(kube):
            yield Lives(plane, witness, tmp_path)


async def test_lives_go_on_when_the_api_server_has_ended_and_begun_anew(
    lives: Lives, plane: ControlPlane, open_fault: Opener, times: Times
) -> None:
    async def restart() -> AsyncIterator[None]:
        for number in range(times(2, 10)):
            end = plane.api.stop if number % 2 else plane.api.kill
            await asyncio.to_thread(end)
            await asyncio.sleep(1.0)
            plane.api.start()
            await asyncio.to_thread(plane.wait_ready)
            yield

    await lives.disturbed(open_fault("API server killed, and stopped, and begun anew", "its process"), 3, restart)


async def test_lives_go_on_when_etcd_stands_still(
    lives: Lives, plane: ControlPlane, open_fault: Opener, times: Times
) -> None:
    async def pause() -> AsyncIterator[None]:
        for _ in range(times(2, 10)):
            plane.etcd.pause()
            await asyncio.sleep(4.0)
            plane.etcd.resume()
            await asyncio.sleep(1.0)
            yield

    await lives.disturbed(open_fault("etcd stands still for 4 s", "SIGSTOP"), 3, pause)


async def test_lives_go_on_when_etcd_crawls(
    lives: Lives, plane: ControlPlane, open_fault: Opener, times: Times
) -> None:
    """It gets a fifth of the time."""

    async def crawl() -> AsyncIterator[None]:
        for _ in range(times(40, 400)):
            plane.etcd.pause()
            await asyncio.sleep(0.2)
            plane.etcd.resume()
            await asyncio.sleep(0.05)
            yield

    await lives.disturbed(open_fault("etcd five times slower", "SIGSTOP and SIGCONT in turn"), 3, crawl)
