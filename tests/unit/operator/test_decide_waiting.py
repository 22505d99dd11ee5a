"""decide where something does not start: told at once, a failure after its deadline, never twice counted."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

import pytest

from plumbline_api.gate import Verdict
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_operator.decision import Decision, EventType
from plumbline_operator.observed import ChildRef, DeploymentState, PlumblineObject, Problem
from plumbline_operator.status.conditions import find_condition
from tests.support import build
from tests.support.check_status import check_status
from tests.support.world import World, key_of

DEADLINE = 1000
BASE = key_of(build.run())
NO_IMAGE = Problem(Reason.IMAGE_PULL_FAILED, "image r/i cannot be pulled; push it")


def told(story: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run an async story."""
    asyncio.run(story())


def hasty(*things: PlumblineObject) -> World:
    """A world in which a start may take so many seconds."""
    return World(runtime=replace(build.RUNTIME, start_deadline=DEADLINE)).add(*things)


async def step(world: World) -> Decision:
    """Decide for the run base, once, and check what it says."""
    decision = await world.step(BASE)
    check_status(decision.status, world.generations[BASE])
    return decision


def ready_reason(world: World) -> Reason:
    """Why the run base is not ready."""
    ready = find_condition(world.run_status("base").conditions, ConditionType.READY)
    assert ready is not None
    return ready.reason


def test_a_stage_whose_turn_has_not_come_is_no_news_and_one_that_starts_is() -> None:
    async def story() -> None:
        world = hasty(build.run())
        assert (await step(world)).events == ()
        (job,) = world.open_jobs()
        world.start(job)
        assert [event.message for event in (await step(world)).events] == ["stage s0 started"]

    told(story)


def test_an_obstacle_is_told_at_once_and_fails_nothing() -> None:
    async def story() -> None:
        world = hasty(build.run())
        await world.settle()
        (job,) = world.open_jobs()
        world.obstruct(job, NO_IMAGE)
        decision = await step(world)
        assert ready_reason(world) == Reason.IMAGE_PULL_FAILED
        assert world.run_status("base").phase == Phase.PENDING
        assert "push it" in world.run_status("base").stages[0].message
        assert [(event.type, event.reason) for event in decision.events] == [
            (EventType.WARNING, Reason.IMAGE_PULL_FAILED)
        ]

    told(story)


def test_a_start_that_waits_is_looked_at_again_and_not_after_its_deadline() -> None:
    async def story() -> None:
        world = hasty(build.run())
        await world.settle()
        assert (await step(world)).wake_after == 60.0
        world.seconds += DEADLINE - 40
        decision = await step(world)
        assert decision.wake_after is not None
        assert 0 < decision.wake_after < 40

    told(story)


@pytest.mark.parametrize("problem", [NO_IMAGE, None])
def test_a_start_that_is_too_late_is_a_failure_whose_job_goes_after_it_is_recorded(problem: Problem | None) -> None:
    async def story() -> None:
        world = hasty(build.run())
        await world.settle()
        (job,) = world.open_jobs()
        if problem is not None:
            world.obstruct(job, problem)
        world.seconds += DEADLINE
        decision = await step(world)
        status = world.run_status("base")
        assert status.phase == Phase.FAILED
        assert status.stages[0].reason == (Reason.NOT_STARTED if problem is None else Reason.IMAGE_PULL_FAILED)
        assert f"given up after {DEADLINE} s" in status.stages[0].message
        assert decision.delete == (ChildRef("Job", job),)
        assert decision.wake_after is None

    told(story)


def test_a_job_of_a_failed_stage_that_a_crash_left_running_goes_with_the_next_look() -> None:
    async def story() -> None:
        world = hasty(build.run())
        await world.settle()
        (job,) = world.open_jobs()
        owner, state = world.jobs[job]
        world.seconds += DEADLINE
        await step(world)
        world.jobs[job], world.children[BASE] = (owner, state), world.children[BASE] | {ChildRef("Job", job)}
        assert (await step(world)).delete == (ChildRef("Job", job),)

    told(story)


@pytest.mark.parametrize("ahead", [-100 * DEADLINE, 100 * DEADLINE], ids=["behind", "ahead"])
def test_a_clock_that_is_wrong_fails_no_start_before_its_time(ahead: int) -> None:
    async def story() -> None:
        world = hasty(build.run())
        await world.settle()
        (job,) = world.open_jobs()
        owner, state = world.jobs[job]
        elsewhere = build.later(world.seconds - ahead)
        world.jobs[job] = (owner, replace(state, problem=NO_IMAGE, waiting_since=elsewhere))
        world.seconds += DEADLINE // 2
        await step(world)
        assert world.run_status("base").phase == Phase.PENDING

    told(story)


def test_what_cannot_come_is_not_waited_for() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        world.obstruct(world.open_jobs()[0], NO_IMAGE, hopeless=True)
        await step(world)
        assert world.run_status("base").phase == Phase.FAILED

    told(story)


def test_a_stage_that_has_run_waits_for_room_as_long_as_it_takes() -> None:
    async def story() -> None:
        world = hasty(build.run())
        await world.settle()
        (job,) = world.open_jobs()
        world.start(job)
        await step(world)
        owner, state = world.jobs[job]
        room = Problem(Reason.UNSCHEDULABLE, "no node has enough nvidia.com/gpu left")
        world.jobs[job] = (owner, replace(state, problem=room, waiting_since=build.NOON))
        world.seconds += 100 * DEADLINE
        await step(world)
        assert world.run_status("base").phase == Phase.RUNNING
        assert ready_reason(world) == Reason.UNSCHEDULABLE

    told(story)


def test_nothing_waits_where_no_deadline_is_set() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        world.seconds += 10**7
        await step(world)
        assert world.run_status("base").phase == Phase.PENDING

    told(story)


def test_a_gate_says_what_its_evaluation_waits_for_and_gives_up_in_time() -> None:
    async def story() -> None:
        world = hasty(build.gate(), build.suite(), build.run())
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        await world.settle()
        (job,) = world.open_jobs()
        world.obstruct(job, NO_IMAGE)
        await world.settle()
        gate = world.gate_status()
        ready = find_condition(gate.conditions, ConditionType.READY)
        assert ready is not None
        assert (gate.phase, ready.reason) == (Phase.RUNNING, Reason.IMAGE_PULL_FAILED)
        world.seconds += DEADLINE
        await world.settle()
        assert world.gate_status().verdict == Verdict.ERROR
        assert job not in world.jobs

    told(story)


def test_an_execution_that_fails_ends_the_others() -> None:
    async def story() -> None:
        gate = build.gate(suites=[{"name": "attacks"}, {"name": "more"}])
        world = World().add(gate, build.suite(), build.suite("more"), build.run())
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        await world.settle()
        first, second = world.open_jobs()
        world.start(second)
        world.finish(first, None, Problem(Reason.BAD_DATA, "broken"))
        await world.settle()
        assert world.gate_status().verdict == Verdict.ERROR
        assert second not in world.jobs

    told(story)


def test_a_served_pod_that_cannot_start_is_waited_for_and_then_told_as_stalled_and_left_to_come_up() -> None:
    async def story() -> None:
        world = hasty(build.inference(), build.gate(), build.suite(), build.run())
        await world.settle()
        for summary in (build.training_summary("model"), build.evaluation_summary(build.digest("model"))):
            world.finish(world.open_jobs()[0], summary)
            await world.settle()
        (name,) = world.deployments
        owner, state = world.deployments[name]
        stuck = replace(state, problem=NO_IMAGE, waiting_since=build.later(world.seconds))
        world.deployments[name] = (owner, stuck)
        decision = await world.step(owner)
        assert find_condition(decision.status.conditions, ConditionType.RECONCILING) is not None
        assert decision.wake_after == 60.0
        world.seconds += DEADLINE
        decision = await world.step(owner)
        stalled = find_condition(decision.status.conditions, ConditionType.STALLED)
        assert stalled is not None
        assert stalled.reason == Reason.IMAGE_PULL_FAILED
        assert name in world.deployments

    told(story)


@pytest.mark.parametrize(("replicas", "applied"), [(None, False), (2, False), (1, True), (3, True)])
def test_another_number_of_pods_is_applied_in_place(replicas: int | None, *, applied: bool) -> None:
    async def story() -> None:
        world = World().add(build.inference(replicas=2), build.gate(), build.suite(), build.run())
        await world.settle()
        for summary in (build.training_summary("model"), build.evaluation_summary(build.digest("model"))):
            world.finish(world.open_jobs()[0], summary)
            await world.settle()
        (name,) = world.deployments
        owner, _ = world.deployments[name]
        world.deployments[name] = (owner, DeploymentState(name, replicas=replicas))
        decision = await world.step(owner)
        assert [child.ref for child in decision.apply] == ([ChildRef("Deployment", name)] if applied else [])

    told(story)
