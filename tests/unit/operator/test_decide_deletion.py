"""decide where others delete: Jobs at work, Jobs that have ended, the objects themselves."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

import pytest

from plumbline_api.alignment import StageState
from plumbline_api.reasons import Phase, Reason
from plumbline_operator.decide import decide
from plumbline_operator.decision import Decision
from plumbline_operator.execute import execute
from plumbline_operator.observed import ChildRef, PlumblineObject, Problem
from tests.support import build
from tests.support.check_status import check_status
from tests.support.world import World, key_of

BASE = key_of(build.run())


def told(story: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run an async story."""
    asyncio.run(story())


async def step(world: World) -> Decision:
    """Decide for the run base, once, and check what it says."""
    decision = await world.step(BASE)
    check_status(decision.status, world.generations[BASE])
    return decision


def test_a_job_that_is_being_deleted_is_made_again_once_it_is_gone_and_not_before() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        (job,) = world.open_jobs()
        world.start(job)
        await step(world)
        world.unlink(job)
        decision = await step(world)
        assert decision.apply == ()
        assert decision.delete == ()
        assert world.run_status("base").stages[0].state == StageState.PENDING
        world.lose(job)
        await step(world)
        assert world.open_jobs() == [job]

    told(story)


def test_a_config_map_that_is_deleted_beside_its_job_is_made_again() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        (job,) = world.open_jobs()
        world.children[BASE].discard(ChildRef("ConfigMap", job))
        decision = await step(world)
        assert [child.ref for child in decision.apply] == [ChildRef("ConfigMap", job)]

    told(story)


def test_a_job_that_ended_before_it_was_deleted_is_believed() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        (job,) = world.open_jobs()
        world.finish(job, build.training_summary("model"))
        world.unlink(job)
        await step(world)
        assert world.run_status("base").phase == Phase.SUCCEEDED

    told(story)


@pytest.mark.parametrize("good", [True, False], ids=["a good end", "a bad end"])
def test_a_job_that_is_deleted_after_its_end_is_not_run_again(*, good: bool) -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        (job,) = world.open_jobs()
        world.finish(job, build.training_summary("model"), None if good else Problem(Reason.BAD_DATA, "bad"))
        await world.settle()
        ended = world.run_status("base")
        world.lose(job)
        await world.settle()
        assert world.run_status("base") == ended
        assert world.created.count(f"Job/{job}") == 1

    told(story)


@pytest.mark.parametrize("thing", [build.run(), build.gate(), build.suite(), build.inference()])
def test_nothing_is_made_for_an_object_that_is_being_deleted(thing: PlumblineObject) -> None:
    async def story() -> None:
        world = World().add(build.run("base"), build.suite(), build.gate(), build.inference())
        sight = await world.observe(key_of(thing))
        assert sight is not None
        wanted, observed = sight
        decision = decide(wanted, replace(observed, deleting=True), build.NOON)
        assert decision == Decision(status=observed.status)

    told(story)


def test_results_are_written_before_anything_goes() -> None:
    async def story() -> None:
        done = []

        class Recorder(World):
            async def write_status(self, *_: object) -> None:
                done.append("write")

            async def delete(self, *_: object) -> None:
                done.append("delete")

        world = Recorder().add(build.run())
        sight = await world.observe(BASE)
        assert sight is not None
        changed = Decision(status=sight[1].status.model_copy(update={"phase": Phase.FAILED}))
        await execute(BASE, sight[1], replace(changed, delete=(ChildRef("Job", "x"),)), world)
        assert done == ["write", "delete"]

    told(story)
