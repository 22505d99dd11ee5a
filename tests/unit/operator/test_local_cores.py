"""Jobs share the cores of the machine, first come first served."""

import asyncio

import pytest

from plumbline_operator.local.cores import Cores


async def held(cores: Cores, wanted: float, running: list[float], release: asyncio.Event) -> None:
    async with cores.hold(wanted):
        running.append(wanted)
        await release.wait()
        running.remove(wanted)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_fits_runs_and_what_does_not_waits_its_turn() -> None:
    cores, running = Cores(4), list[float]()
    releases = [asyncio.Event() for _ in range(4)]
    requests = [2.0, 1.0, 3.0, 0.5]
    tasks = [asyncio.ensure_future(held(cores, *pair)) for pair in zip(requests, [running] * 4, releases, strict=True)]
    await settle()
    assert running == [2.0, 1.0], "the small one behind the big one waits, or the big one never gets its turn"
    releases[0].set()
    await settle()
    assert sorted(running) == [1.0, 3.0]
    releases[1].set()
    await settle()
    assert sorted(running) == [0.5, 3.0]
    for release in releases:
        release.set()
    await asyncio.gather(*tasks)
    assert running == []


async def test_one_that_asks_for_more_than_there_is_runs_alone() -> None:
    cores, running, release = Cores(2), list[float](), asyncio.Event()
    tasks = [asyncio.ensure_future(held(cores, 64.0, running, release)) for _ in range(2)]
    await settle()
    assert running == [64.0]
    release.set()
    await asyncio.gather(*tasks)


async def test_one_that_is_cancelled_while_it_waits_leaves_no_gap() -> None:
    cores, running, release = Cores(1), list[float](), asyncio.Event()
    tasks = [asyncio.ensure_future(held(cores, 1.0, running, release)) for _ in range(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    release.set()
    await asyncio.gather(tasks[0], tasks[2])
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
