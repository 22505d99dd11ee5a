"""decide where a Job at work tells nothing: said after five minutes, never a failure, and taken back."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

from plumbline_api.progress import Progress
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_operator.decision import Decision, EventType
from plumbline_operator.observed import Key, Problem
from plumbline_operator.status.conditions import find_condition
from tests.support import build
from tests.support.check_status import check_status
from tests.support.world import World, key_of

BASE = key_of(build.run())
GATE = key_of(build.gate())


def told(story: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run an async story."""
    asyncio.run(story())


def silence(world: World, name: str, since: float, *, percentage: int | None = None) -> None:
    """Let a Job be silent since a moment, at which it may have reported."""
    owner, job = world.jobs[name]
    moment, report = build.later(since), job.progress
    if percentage is not None:
        report = Progress(progress_percentage=percentage, last_updated_time=moment)
    world.jobs[name] = (owner, replace(job, silent_since=moment, progress=report))


async def at_work(world: World) -> str:
    """The name of the only Job that has not ended, which runs now."""
    await world.settle()
    (name,) = world.open_jobs()
    world.start(name)
    return name


async def step(world: World, key: Key = BASE) -> Decision:
    """Decide once, and check what it says."""
    decision = await world.step(key)
    check_status(decision.status, world.generations[key])
    return decision


def test_a_silent_stage_is_told_when_it_has_lasted_and_looked_at_in_that_moment() -> None:
    async def story() -> None:
        world = World().add(build.run())
        name = await at_work(world)
        silence(world, name, world.seconds, percentage=7)
        decision = await step(world)
        assert world.run_status("base").stages[0].reason == Reason.RUNNING
        assert decision.wake_after == 299.0
        world.seconds += 298
        decision = await step(world)
        row = world.run_status("base").stages[0]
        assert row.reason == Reason.NOT_REPORTING
        assert world.run_status("base").phase == Phase.RUNNING, "it is no failure"
        assert row.progress is not None
        assert row.progress.progress_percentage == 7
        (event,) = decision.events
        assert (event.type, event.reason) == (EventType.WARNING, Reason.NOT_REPORTING)
        assert "stage s0 is running: Job" in event.message
        reconciling = find_condition(world.run_status("base").conditions, ConditionType.RECONCILING)
        assert reconciling is not None
        assert "has reported no progress since 2026-01-31T12:00" in reconciling.message
        writes = world.writes
        world.seconds += 1000
        assert (await step(world)).wake_after is None
        assert world.writes == writes, "saying it once is enough"

    told(story)


def test_it_is_taken_back_when_a_report_comes() -> None:
    async def story() -> None:
        world = World().add(build.run())
        name = await at_work(world)
        silence(world, name, 0, percentage=7)
        world.seconds += 400
        await step(world)
        assert world.run_status("base").stages[0].reason == Reason.NOT_REPORTING
        silence(world, name, world.seconds, percentage=8)
        decision = await step(world)
        row = world.run_status("base").stages[0]
        assert (row.reason, row.message) == (Reason.RUNNING, "")
        assert decision.events == ()
        assert decision.wake_after is not None

    told(story)


def test_where_nobody_listens_nothing_is_said() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await at_work(world)
        world.seconds += 10_000
        decision = await step(world)
        assert world.run_status("base").stages[0].reason == Reason.RUNNING
        assert decision.wake_after is None

    told(story)


def test_what_is_worse_than_silence_is_told_instead() -> None:
    async def story() -> None:
        world = World().add(build.run())
        name = await at_work(world)
        silence(world, name, 0)
        world.obstruct(name, Problem(Reason.PREEMPTED, "its pod made room"))
        world.seconds += 400
        await step(world)
        assert world.run_status("base").stages[0].reason == Reason.PREEMPTED

    told(story)


def test_progress_that_an_operator_started_anew_was_not_told_yet_stays() -> None:
    async def story() -> None:
        world = World().add(build.run())
        name = await at_work(world)
        silence(world, name, world.seconds, percentage=40)
        await step(world)
        owner, job = world.jobs[name]
        world.jobs[name] = (owner, replace(job, progress=None))
        writes = world.writes
        await step(world)
        assert world.writes == writes
        row = world.run_status("base").stages[0]
        assert row.progress is not None
        assert row.progress.progress_percentage == 40

    told(story)


def test_a_silent_evaluation_is_told_by_its_gate() -> None:
    async def story() -> None:
        world = World().add(build.run(), build.suite(), build.gate())
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        name = await at_work(world)
        for since, reason in ((0, Reason.EVALUATING), (301, Reason.NOT_REPORTING), (0, Reason.EVALUATING)):
            silence(world, name, world.seconds - since)
            decision = await step(world, GATE)
            ready = find_condition(world.gate_status().conditions, ConditionType.READY)
            assert ready is not None
            assert ready.reason == reason
            assert world.gate_status().verdict is None
            assert decision.wake_after == (None if since else 299.0)

    told(story)
