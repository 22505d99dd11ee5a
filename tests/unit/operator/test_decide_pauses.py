"""decide for runs that are paused, resumed, and cleaned up after their end."""

import asyncio
from collections.abc import Callable, Coroutine

from plumbline_api.alignment import AlignmentRun, StageState
from plumbline_api.meta import ConditionStatus
from plumbline_api.names import RETRY_ANNOTATION
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_operator.decision import Decision
from plumbline_operator.observed import Problem
from plumbline_operator.status.conditions import find_condition, is_settled
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


def paused() -> AlignmentRun:
    return build.run(stages=2, suspend=True)


def test_a_suspended_run_starts_nothing_and_rests() -> None:
    async def story() -> None:
        world = World().add(paused())
        await world.settle()
        status = world.run_status("base")
        check_status(status)
        assert (status.phase, world.created) == (Phase.SUSPENDED, [])
        assert is_settled(status.conditions)

    told(story)


def test_a_pause_ends_the_job_and_keeps_finished_stages_and_resuming_goes_on_there() -> None:
    async def story() -> None:
        world = World().add(build.run(stages=2))
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("one"))
        await world.settle()
        (job,) = world.open_jobs()
        world.start(job)
        await world.settle()
        world.add(paused())
        await world.settle()
        status = world.run_status("base")
        check_status(status, 2)
        assert world.open_jobs() == []
        assert [row.state for row in status.stages] == [StageState.SUCCEEDED, StageState.PENDING]
        assert "1 of 2 stages done" in status.conditions[0].message
        world.add(build.run(stages=2))
        await world.settle()
        (job,) = world.open_jobs()
        world.start(job)
        await world.settle()
        status = world.run_status("base")
        check_status(status, 3)
        suspended = find_condition(status.conditions, ConditionType.SUSPENDED)
        assert suspended is not None
        assert (status.phase, suspended.status) == (Phase.RUNNING, ConditionStatus.FALSE)
        world.finish(job, build.training_summary("two"))
        await world.settle()
        assert world.run_status("base").phase == Phase.SUCCEEDED

    told(story)


def test_a_job_that_is_on_its_way_out_is_not_deleted_again() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        world.unlink(world.open_jobs()[0])
        world.add(build.run(suspend=True))
        assert (await step(world)).delete == ()

    told(story)


def test_a_result_that_came_before_the_pause_is_recorded() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        world.add(build.run(suspend=True))
        await world.settle()
        assert world.run_status("base").phase == Phase.SUCCEEDED

    told(story)


def test_a_run_that_has_ended_stays_ended_whatever_its_pause_says() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        await world.settle()
        world.add(build.run(suspend=True))
        await world.settle()
        check_status(world.run_status("base"), 2)
        assert world.run_status("base").phase == Phase.SUCCEEDED
        assert world.run_status("base").observed_generation == 2

    told(story)


def test_what_is_served_stays_while_a_field_of_its_finished_run_is_changed() -> None:
    async def story() -> None:
        world = World().add(build.inference(), build.gate(), build.suite(), build.run())
        await world.settle()
        for _ in range(2):
            (job,) = world.open_jobs()
            training = not world.gate_status().binding
            made = build.training_summary("model") if training else build.evaluation_summary(build.digest("model"))
            world.finish(job, made)
            await world.settle()
        (served,) = world.deployments
        world.add(build.run(ttlSecondsAfterFinished=60))
        for key in world.objects:
            await world.step(key)
        assert list(world.deployments) == [served]

    told(story)


def aged(seconds: int) -> AlignmentRun:
    return build.run(ttlSecondsAfterFinished=seconds)


def test_children_go_when_the_time_after_the_end_is_over_and_the_run_stays() -> None:
    async def story() -> None:
        world = World().add(aged(600))
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        await world.settle()
        decision = await step(world)
        assert decision.delete == ()
        assert decision.wake_after is not None
        assert 500 < decision.wake_after <= 600
        before = world.run_status("base")
        world.seconds += 600
        await world.settle()
        assert world.children[BASE] == set()
        assert world.run_status("base") == before
        assert (await step(world)).apply == ()

    told(story)


def test_no_child_goes_before_its_result_is_recorded_not_even_without_any_time_to_live() -> None:
    async def story() -> None:
        world = World().add(aged(0))
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        decision = await step(world)
        assert {ref.kind for ref in decision.delete} == {"ConfigMap", "Job"}
        assert world.run_status("base").output == build.digest("model")

    told(story)


def test_a_time_to_live_can_be_given_after_the_end() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        await world.settle()
        world.seconds += 600
        world.add(aged(60))
        await world.settle()
        assert world.children[BASE] == set()

    told(story)


def test_a_failed_run_whose_children_are_gone_can_be_tried_again() -> None:
    async def story() -> None:
        world = World().add(aged(0))
        await world.settle()
        world.finish(world.open_jobs()[0], None, Problem(Reason.BAD_DATA, "bad"))
        await world.settle()
        assert world.children[BASE] == set()
        world.annotations[BASE] = {RETRY_ANNOTATION: "again"}
        await world.settle()
        assert len(world.open_jobs()) == 1

    told(story)
