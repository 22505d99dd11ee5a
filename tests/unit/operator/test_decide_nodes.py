"""decide for stages of several nodes: Job or JobSet, whichever was begun, and what the pods need to meet."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_operator.observed import ChildRef, Runtime
from plumbline_operator.status.conditions import find_condition
from tests.support import build
from tests.support.world import World, key_of

RUN = build.run(stages=2, compute={"nodes": 2})
KEY = key_of(RUN)
JOB_SETS = replace(build.RUNTIME, job_sets=True)


def told(story: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run an async story."""
    asyncio.run(story())


async def begun(runtime: Runtime = build.RUNTIME) -> World:
    """A world in which the first stage has its Job or JobSet, which runs."""
    world = World(runtime=runtime).add(RUN)
    await world.settle()
    (name,) = world.open_jobs()
    world.start(name)
    await world.settle()
    return world


def kinds(world: World) -> list[str]:
    return [made.partition("/")[0] for made in world.created]


def test_what_pods_need_to_meet_is_made_before_their_job() -> None:
    async def story() -> None:
        world = await begun()
        assert kinds(world) == ["ConfigMap", "Service", "NetworkPolicy", "Job"]
        (name,) = world.open_jobs()
        assert world.run_status("base").stages[0].job == name
        assert f"Service/{name}" in world.created

    told(story)


def test_a_service_that_somebody_deleted_is_made_again_beside_the_job_at_work() -> None:
    async def story() -> None:
        world = await begun()
        (name,) = world.open_jobs()
        world.children[KEY].discard(ChildRef("Service", name))
        await world.settle()
        assert kinds(world) == ["ConfigMap", "Service", "NetworkPolicy", "Job", "Service"]

    told(story)


def test_a_job_set_is_made_where_there_are_any_and_its_end_is_the_stages() -> None:
    async def story() -> None:
        world = await begun(JOB_SETS)
        assert kinds(world) == ["ConfigMap", "NetworkPolicy", "JobSet"]
        for word in ("one", "two"):
            (name,) = world.open_jobs()
            world.finish(name, build.training_summary(word))
            await world.settle()
        assert world.run_status("base").phase == Phase.SUCCEEDED
        assert kinds(world).count("JobSet") == 2

    told(story)


def test_a_stage_that_was_begun_as_a_job_goes_on_as_one_when_job_sets_appear() -> None:
    async def story() -> None:
        world = await begun()
        world.runtime = JOB_SETS
        await world.settle()
        assert "JobSet" not in kinds(world)
        (name,) = world.open_jobs()
        world.children[KEY].discard(ChildRef("ConfigMap", name))
        await world.settle()
        assert world.created.count(f"ConfigMap/{name}") == 2
        world.finish(name, build.training_summary("one"))
        await world.settle()
        assert kinds(world)[-1] == "JobSet"

    told(story)


def test_a_stage_whose_job_set_went_with_the_api_is_made_as_a_job() -> None:
    async def story() -> None:
        world = await begun(JOB_SETS)
        (name,) = world.open_jobs()
        world.runtime = build.RUNTIME
        await world.settle()
        assert world.open_jobs() == [name]
        world.lose(name)
        await world.settle()
        assert kinds(world)[-1] == "Job"
        assert world.open_jobs() != [name]

    told(story)


def test_a_pause_deletes_a_job_set_and_going_on_makes_it_again() -> None:
    async def story() -> None:
        world = await begun(JOB_SETS)
        (name,) = world.open_jobs()
        world.add(build.run(stages=2, compute={"nodes": 2}, suspend=True))
        await world.settle()
        assert world.open_jobs() == []
        assert ChildRef("JobSet", name) not in world.children[KEY]
        world.add(RUN)
        await world.settle()
        assert world.open_jobs() == [name]

    told(story)


def test_pods_that_could_never_meet_are_not_made_and_the_setting_is_named() -> None:
    async def story() -> None:
        world = World(runtime=replace(build.RUNTIME, egress=())).add(RUN)
        await world.settle()
        assert world.open_jobs() == []
        ready = find_condition(world.run_status("base").conditions, ConditionType.READY)
        assert ready is not None
        assert ready.reason == Reason.BAD_CONFIGURATION
        assert "workloads.egress" in ready.message
        world.runtime = replace(build.RUNTIME, egress=({"ports": [{"port": 53, "protocol": "UDP"}]},))
        await world.settle()
        assert len(world.open_jobs()) == 1

    told(story)
