"""A newer operator takes over: what was at work and what serves goes on while the software around it changes."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

import pytest

from plumbline_api.gate import Verdict
from plumbline_api.meta import ConditionStatus
from plumbline_api.names import Image, Kind
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_operator.observed import Problem, Runtime
from plumbline_operator.status.conditions import find_condition
from tests.support import build
from tests.support.check_status import check_status
from tests.support.world import World, failed

CLUSTER = replace(build.RUNTIME, beside=True, linger=10)
ENDPOINT = "http://served-guard.default.svc"


def release(word: str, *images: Image) -> Runtime:
    """The settings of a release whose images, or those named here, are its own."""
    own = {image: f"plumbline/{image}@{build.digest(word + image)}" for image in images or tuple(Image)}
    return replace(CLUSTER, images={**CLUSTER.images, **own})


def told(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(story())


async def evaluated(world: World, complied: int = 0) -> None:
    """Every open Job is an evaluation of the model, and ends."""
    for name in world.open_jobs():
        world.finish(name, build.evaluation_summary(build.digest("model"), complied=complied))
    await world.settle()


def let_serve(world: World, name: str, pods: int = 1, of: int = 1) -> None:
    owner, state = world.deployments[name]
    up = replace(state, engine_ready=True, guard_ready=True, endpoint=ENDPOINT, ready=pods, replicas=of)
    world.deployments[name] = (owner, up)


async def serving(replicas: int = 1) -> tuple[World, str]:
    """A world in which a model serves, and the Deployment that does it."""
    world = World(runtime=CLUSTER)
    world.add(build.inference(replicas=replicas), build.gate(), build.suite(), build.run())
    await world.settle()
    world.finish(world.open_jobs()[0], build.training_summary("model"))
    await world.settle()
    await evaluated(world)
    (name,) = world.deployments
    let_serve(world, name, replicas, of=replicas)
    await world.settle()
    assert world.inference_status().phase == Phase.SERVING
    return world, name


def checked(world: World) -> None:
    for status in world.statuses.values():
        check_status(status)


def test_what_serves_goes_on_until_the_gate_has_spoken_and_the_new_pods_serve() -> None:
    async def story() -> None:
        world, old = await serving()
        world.runtime = release("next")
        await world.settle()
        checked(world)
        assert world.gate_status().verdict is None
        assert list(world.deployments) == [old], "nothing new before the verdict, and nothing taken away"
        status = world.inference_status()
        assert status.stable is not None
        assert (status.stable.deployment, status.phase) == (old, Phase.RUNNING)
        ready = find_condition(status.conditions, ConditionType.MODEL_READY)
        assert ready is not None
        assert ready.status == ConditionStatus.TRUE
        await evaluated(world)
        checked(world)
        assert world.gate_status().verdict == Verdict.PASSED
        (new,) = set(world.deployments) - {old}
        assert old in world.deployments, "the new pods do not serve yet"
        let_serve(world, new)
        await world.settle()
        checked(world)
        assert list(world.deployments) == [new]
        assert world.inference_status().phase == Phase.SERVING

    told(story)


def test_a_pod_that_is_not_ready_when_the_operator_is_replaced_is_kept_too() -> None:
    async def story() -> None:
        world, old = await serving()
        owner, state = world.deployments[old]
        world.deployments[old] = (owner, replace(state, engine_ready=False, ready=0))
        await world.settle()
        checked(world)
        assert world.inference_status().phase != Phase.SERVING
        world.runtime = release("next")
        await world.settle()
        assert list(world.deployments) == [old]

    told(story)


def test_no_stage_of_a_run_is_run_again() -> None:
    async def story() -> None:
        world, _ = await serving()
        before = world.run_status("base")
        world.runtime = release("next")
        await world.settle()
        await evaluated(world)
        stages = [name for name, (owner, _) in world.jobs.items() if owner.kind == Kind.ALIGNMENT_RUN]
        assert (len(stages), world.run_status("base")) == (1, before)

    told(story)


def test_a_rollback_takes_the_verdict_of_the_evaluations_that_are_still_there() -> None:
    async def story() -> None:
        world, old = await serving()
        world.runtime = release("next")
        await world.settle()
        await evaluated(world)
        (new,) = set(world.deployments) - {old}
        let_serve(world, new)
        await world.settle()
        jobs = list(world.jobs)
        world.runtime = CLUSTER
        await world.settle()
        assert (list(world.jobs), world.gate_status().verdict) == (jobs, Verdict.PASSED)
        assert set(world.deployments) == {old, new}
        let_serve(world, old)
        await world.settle()
        assert list(world.deployments) == [old]

    told(story)


def test_the_new_guard_alone_needs_no_new_verdict() -> None:
    async def story() -> None:
        world, old = await serving()
        world.runtime = release("next", Image.GUARD)
        await world.settle()
        assert (world.gate_status().verdict, world.open_jobs()) == (Verdict.PASSED, [])
        assert old in world.deployments
        assert len(world.deployments) == 2

    told(story)


@pytest.mark.parametrize("served_first", [True, False])
def test_a_verdict_of_other_images_lets_nothing_new_through(*, served_first: bool) -> None:
    async def story() -> None:
        world, old = await serving()
        if not served_first:
            owner, _ = world.deployments[old]
            world.statuses[owner] = world.inference_status().model_copy(update={"stable": None})
        world.runtime = release("next")
        inference = next(key for key in world.objects if key.kind == Kind.GUARDED_INFERENCE)
        await world.step(inference)  # before the gate has been looked at
        assert list(world.deployments) == ([old] if served_first else [])
        reconciling = find_condition(world.inference_status().conditions, ConditionType.RECONCILING)
        assert reconciling is not None
        assert reconciling.reason == Reason.WAITING_FOR_GATE

    told(story)


@pytest.mark.parametrize("complied", [40, None], ids=["it fails", "it cannot be measured"])
def test_a_model_that_does_not_pass_with_the_new_software_is_served_no_more(complied: int | None) -> None:
    async def story() -> None:
        world, _ = await serving()
        world.runtime = release("next")
        await world.settle()
        if complied is None:
            world.finish(world.open_jobs()[0], None, failed())
            await world.settle()
        else:
            await evaluated(world, complied)
        checked(world)
        assert world.deployments == {}
        assert world.inference_status().stable is None

    told(story)


@pytest.mark.parametrize("change", ["suite", "rules"])
def test_another_question_ends_the_serving_at_once_also_during_an_upgrade(change: str) -> None:
    async def story() -> None:
        world, _ = await serving()
        world.runtime = release("next")
        await world.settle()
        stricter = build.gate(rules=[{"metric": "harmful_compliance_rate", "atMost": "0.01"}])
        world.add(stricter if change == "rules" else build.suite(samples={"seed": 9}))
        await world.settle()
        assert world.deployments == {}

    told(story)


def test_the_old_pods_go_only_when_every_new_one_serves() -> None:
    async def story() -> None:
        world, old = await serving(replicas=3)
        world.runtime = release("next", Image.GUARD)
        await world.settle()
        (new,) = set(world.deployments) - {old}
        let_serve(world, new, 2, of=3)
        await world.settle()
        checked(world)
        assert set(world.deployments) == {old, new}
        reconciling = find_condition(world.inference_status().conditions, ConditionType.RECONCILING)
        assert reconciling is not None
        assert reconciling.message.startswith("2 of 3 pods serve")
        let_serve(world, new, 3, of=3)
        await world.settle()
        assert list(world.deployments) == [new]

    told(story)


def test_new_pods_that_cannot_start_leave_the_old_ones_serving() -> None:
    async def story() -> None:
        world, old = await serving()
        world.runtime = release("next", Image.GUARD)
        await world.settle()
        (new,) = set(world.deployments) - {old}
        owner, state = world.deployments[new]
        lack = Problem(Reason.IMAGE_PULL_FAILED, "no such image; push it")
        world.deployments[new] = (owner, replace(state, problem=lack, hopeless=True))
        await world.settle()
        checked(world)
        status = world.inference_status()
        assert (status.phase, set(world.deployments)) == (Phase.STALLED, {old, new})
        assert status.stable is not None
        assert status.stable.deployment == old

    told(story)


def test_where_two_cannot_stand_side_by_side_the_old_one_goes_first() -> None:
    async def story() -> None:
        world, old = await serving()
        world.runtime = replace(release("next", Image.GUARD), beside=False)
        await world.settle()
        (new,) = world.deployments
        assert new != old

    told(story)
