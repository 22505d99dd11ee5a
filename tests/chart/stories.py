"""Objects as the API server would give them out, with statuses that decide() wrote: every phase of every kind."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from plumbline_api.names import Kind
from plumbline_api.reasons import Reason
from plumbline_operator.observed import Key, PlumblineObject, Problem
from tests.support import build
from tests.support.world import World, failed, key_of

__all__ = ["Object", "fresh", "raw", "statuses", "whole_loop"]

Object = dict[str, Any]


def raw(world: World, key: Key) -> Object:
    """An object of a world as JSON data."""
    thing = world.objects[key].dump()
    metadata = thing["metadata"] | {"generation": world.generations[key], "annotations": world.annotations.get(key, {})}
    return thing | {"metadata": metadata, "status": world.statuses[key].dump()}


def fresh(thing: PlumblineObject) -> Object:
    """An object that the operator has not seen: its status is what the schema puts there."""
    world = World().add(thing)
    return raw(world, key_of(thing))


def whole_loop() -> World:
    """A run, a suite, a gate, and a served model."""
    return World().add(build.inference(), build.gate(), build.suite(), build.run("base"))


def statuses() -> Iterator[tuple[Kind, Object]]:
    """Every object of every story after every step, and its kind."""
    for story in (passes, fails_its_gate, breaks, is_paused, lacks_everything, cannot_be_served):
        world = whole_loop()
        for _ in story(world):
            asyncio.run(world.settle())
            yield from ((key.kind, raw(world, key)) for key in world.objects)
    for thing in (build.run(), build.suite(), build.gate(), build.inference()):
        yield key_of(thing).kind, fresh(thing)


def passes(world: World) -> Iterator[None]:
    """Everything goes well, to the end."""
    yield
    (job,) = world.open_jobs()
    world.start(job)
    yield
    world.finish(job, build.training_summary("model"))
    yield
    _evaluate(world, complied=0)
    yield
    ((name, (owner, state)),) = world.deployments.items()
    world.deployments[name] = (owner, replace(state, engine_ready=True))
    yield
    world.deployments[name] = (owner, replace(state, engine_ready=True, guard_ready=True, endpoint="http://guard"))
    yield


def fails_its_gate(world: World) -> Iterator[None]:
    """The model obeys; then the gate is asked again."""
    yield
    world.finish(world.open_jobs()[0], build.training_summary("model"))
    yield
    _evaluate(world, complied=100)
    yield


def breaks(world: World) -> Iterator[None]:
    """The training Job fails."""
    yield
    world.finish(world.open_jobs()[0], None, failed(Reason.OUT_OF_MEMORY))
    yield


def is_paused(world: World) -> Iterator[None]:
    """The run is paused and goes on."""
    yield
    world.add(build.run("base", suspend=True))
    yield
    world.add(build.run("base"))
    yield


def lacks_everything(world: World) -> Iterator[None]:
    """Nothing that is named exists, and the run's model neither."""
    world.broken_inputs["model"] = Problem(Reason.NOT_FOUND, "spec.model names a folder that does not exist")
    world.objects = {key: thing for key, thing in world.objects.items() if key.kind != Kind.RED_TEAM_SUITE}
    world.add(build.gate("alone", subject={"alignmentRun": {"name": "none"}}))
    world.add(build.inference("orphan", gate={"name": "none"}))
    yield


def cannot_be_served(world: World) -> Iterator[None]:
    """What passed cannot start."""
    yield
    world.finish(world.open_jobs()[0], build.training_summary("model"))
    yield
    _evaluate(world, complied=0)
    yield
    ((name, (owner, state)),) = world.deployments.items()
    problem = Problem(Reason.IMAGE_PULL_FAILED, "image engine cannot be pulled")
    world.deployments[name] = (owner, replace(state, problem=problem, hopeless=True))
    yield


def _evaluate(world: World, *, complied: int) -> None:
    (job,) = world.open_jobs()
    subject = world.gate_status().subject
    assert subject is not None
    world.finish(job, build.evaluation_summary(subject, complied=complied))
