"""What is applied together comes in any order: a lack is awaited for a moment, and then it is for a person."""

from dataclasses import replace

import pytest

from plumbline_api.configmap import ConfigMap
from plumbline_api.names import RULES_KEY, Kind
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_operator.observed import Key, PlumblineObject, Problem
from tests.support import build
from tests.support.check_status import check_status
from tests.support.world import World, key_of

PATIENCE = 15
LACKING: dict[str, tuple[PlumblineObject, tuple[PlumblineObject, ...]]] = {
    "a run that another one goes on from": (build.run("second", model={"run": {"name": "base"}}), (build.run(),)),
    "the suite of a gate": (build.gate(), (build.suite(), build.run())),
    "the gate of a served model": (build.inference(), (build.gate(), build.suite(), build.run())),
}


def patient(*things: PlumblineObject) -> World:
    return World(runtime=replace(build.RUNTIME, patience=float(PATIENCE))).add(*things)


def told(world: World, key: Key) -> set[tuple[str, str]]:
    """The conditions that are about progress, with their reasons."""
    about = {ConditionType.RECONCILING, ConditionType.STALLED}
    return {(found.type, found.reason) for found in world.statuses[key].conditions if found.type in about}


@pytest.mark.parametrize("lacking", LACKING)
async def test_what_does_not_exist_yet_is_awaited_and_no_failure(lacking: str) -> None:
    thing, others = LACKING[lacking]
    world = patient(thing)
    decision = await world.step(key_of(thing))
    assert decision.wake_after == PATIENCE
    assert decision.events == ()
    assert told(world, key_of(thing)) == {("Reconciling", Reason.NOT_FOUND)}
    check_status(world.statuses[key_of(thing)], 1)
    world.add(*others)
    await world.settle()
    assert Reason.NOT_FOUND not in {reason for _, reason in told(world, key_of(thing))}


@pytest.mark.parametrize("lacking", LACKING)
async def test_what_does_not_come_is_for_a_person_and_stays_so(lacking: str) -> None:
    thing, _ = LACKING[lacking]
    world = patient(thing)
    await world.step(key_of(thing))
    world.seconds += PATIENCE
    for _ in range(2):
        decision = await world.step(key_of(thing))
        assert decision.wake_after is None
        assert told(world, key_of(thing)) == {("Stalled", Reason.NOT_FOUND)}
    assert world.statuses[key_of(thing)].phase == Phase.STALLED


async def test_files_and_guard_rules_are_awaited_too() -> None:
    run = build.run()
    world = patient(run)
    world.broken_inputs["model"] = Problem(Reason.NOT_FOUND, "nobody has pushed init")
    assert (await world.step(key_of(run))).wake_after == PATIENCE
    assert told(world, key_of(run)) == {("Reconciling", Reason.NOT_FOUND)}
    world.broken_inputs.clear()
    guarded = build.inference(guard={"rules": {"configMap": {"name": "rules"}}})
    world.add(build.suite(), build.gate())
    await world.settle()
    world.finish(world.open_jobs()[0], build.training_summary("model"))
    await world.settle()
    world.finish(world.open_jobs()[0], build.evaluation_summary(build.digest("model")))
    await world.settle()
    world.add(guarded)
    assert (await world.step(key_of(guarded))).wake_after == PATIENCE
    assert world.deployments == {}
    world.config_maps["rules"] = ConfigMap.parse({"metadata": {"name": "rules"}, "data": {RULES_KEY: "rules: []"}})
    await world.settle()
    assert len(world.deployments) == 1


async def test_what_is_wrong_is_told_at_once() -> None:
    world = patient(build.run())
    world.broken_inputs["model"] = Problem(Reason.BAD_DATA, "no model")
    await world.step(Key(Kind.ALIGNMENT_RUN, "default", "base"))
    assert told(world, key_of(build.run())) == {("Stalled", Reason.BAD_DATA)}
