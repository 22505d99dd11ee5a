"""How long decide takes for ten thousand runs in the states of ordinary life."""

import asyncio
import time
from dataclasses import replace

import pytest

from plumbline_operator.cluster import Sight
from plumbline_operator.decide import decide
from plumbline_operator.observed import Key
from tests.support import build
from tests.support.world import World, key_of

pytestmark = pytest.mark.bench

RUNS = 10_000


def sights() -> dict[str, Sight]:
    """One run just applied, one at work, one finished."""

    async def story() -> dict[str, Sight]:
        found = {}
        world = World().add(build.run(stages=2))
        key = key_of(build.run())

        async def look() -> Sight:
            sight = await world.observe(key)
            assert sight is not None
            return sight

        found["applied"] = await look()
        await world.settle()
        world.start(world.open_jobs()[0])
        await world.settle()
        found["running"] = await look()
        for word in ("one", "two"):
            world.finish(world.open_jobs()[0], build.training_summary(word))
            await world.settle()
        found["finished"] = await look()
        return found

    return asyncio.run(story())


def seconds(sight: Sight, count: int) -> float:
    """Decide `count` runs of different names."""
    thing, observed = sight
    crowd = [
        replace(observed, key=Key(observed.key.kind, observed.key.namespace, f"run-{number}"))
        for number in range(count)
    ]
    began = time.perf_counter()
    for one in crowd:
        decide(thing, one, build.later(3600))
    return time.perf_counter() - began


@pytest.mark.parametrize("state", ["applied", "running", "finished"])
def test_decide_for_ten_thousand_runs_grows_no_faster_than_their_number(state: str) -> None:
    sight = sights()[state]
    seconds(sight, 100)
    small, large = seconds(sight, RUNS // 10), seconds(sight, RUNS)
    print(f"\ndecide, {RUNS} runs {state}: {large:.2f} s, {1e6 * large / RUNS:.0f} us each")  # noqa: T201
    assert large < 10 * small * 2
