"""Engines and gates: what nobody can run is told, and nothing is served by an engine that no gate has judged with."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.gate import Verdict
from plumbline_api.names import Image
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_operator.local.images import local_images
from plumbline_operator.observed import Runtime
from plumbline_operator.status.conditions import find_condition
from tests.support import build
from tests.support.check_status import check_status
from tests.support.world import World

VLLM: dict[str, Any] = {"type": "vllm"}
WITHOUT = replace(build.RUNTIME, images={image: name for image, name in build.RUNTIME.images.items() if image.required})


def told(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(story())


async def judged(runtime: Runtime, engine: dict[str, Any], served: dict[str, Any]) -> World:
    """A world in which a gate has judged with one engine, and another one may be asked to serve."""
    world = World(runtime=runtime)
    world.add(build.inference(engine=served), build.gate(engine=engine), build.suite(), build.run())
    await world.settle()
    world.finish(world.open_jobs()[0], build.training_summary("model"))
    await world.settle()
    await evaluated(world)
    return world


async def evaluated(world: World) -> None:
    for name in world.open_jobs():
        world.finish(name, build.evaluation_summary(build.digest("model"), complied=0))
    await world.settle()


def stalled(status: Any, generation: int = 1) -> tuple[Reason, str]:
    check_status(status, generation)
    found = find_condition(status.conditions, ConditionType.STALLED)
    assert found is not None
    return found.reason, found.message


def test_an_engine_without_an_image_is_told_with_the_value_to_set() -> None:
    async def story() -> None:
        world = await judged(WITHOUT, VLLM, VLLM)
        assert not [name for name in world.created if name.startswith(("Job/gate", "Deployment/"))]
        for status in (world.gate_status(), world.inference_status()):
            reason, message = stalled(status)
            assert reason == Reason.UNSUPPORTED_BY_RUNTIME
            assert "spec.engine.type is vllm" in message
            assert "images.vllm.digest" in message

    told(story)


def test_what_asks_for_no_such_engine_is_served_without_its_image() -> None:
    async def story() -> None:
        world = await judged(WITHOUT, {}, {})
        assert world.gate_status().verdict == Verdict.PASSED
        assert len(world.deployments) == 1

    told(story)


def test_a_gate_judges_and_a_model_is_served_with_vllm() -> None:
    async def story() -> None:
        world = await judged(build.RUNTIME, VLLM, VLLM | {"args": {"max-num-seqs": "8"}})
        assert world.gate_status().verdict == Verdict.PASSED
        assert len(world.deployments) == 1

    told(story)


@pytest.mark.parametrize(
    ("judged_with", "served_by"),
    [
        ({}, VLLM),
        (VLLM, {}),
        (VLLM, VLLM | {"args": {"quantization": "fp8"}}),
        (VLLM | {"args": {"dtype": "float32"}}, VLLM),
    ],
    ids=["ours, vllm", "vllm, ours", "quantised later", "another precision"],
)
def test_what_one_engine_passed_another_does_not_serve(judged_with: Any, served_by: Any) -> None:
    async def story() -> None:
        world = await judged(build.RUNTIME, judged_with, served_by)
        assert world.gate_status().verdict == Verdict.PASSED
        assert not world.deployments
        reason, message = stalled(world.inference_status())
        assert reason == Reason.NO_PASSED_SUBJECT
        assert "EvalGate gate judges what" in message

    told(story)


def test_another_engine_of_the_gate_voids_its_verdict_and_what_it_let_serve() -> None:
    async def story() -> None:
        world = await judged(build.RUNTIME, {}, {})
        world.add(build.gate(engine=VLLM))
        await world.settle()
        assert world.gate_status().verdict is None
        assert not world.deployments
        world.add(build.inference(engine=VLLM))
        await world.settle()
        await evaluated(world)
        assert world.gate_status().verdict == Verdict.PASSED
        assert len(world.deployments) == 1
        assert world.inference_status().phase == Phase.RUNNING

    told(story)


def test_another_option_of_the_gates_engine_asks_it_again() -> None:
    async def story() -> None:
        world = await judged(build.RUNTIME, VLLM, VLLM)
        world.add(build.gate(engine=VLLM | {"args": {"max-model-len": "1024"}}))
        await world.settle()
        assert world.gate_status().verdict is None
        assert len(world.open_jobs()) == 1

    told(story)


def test_what_serves_goes_when_it_is_to_be_another_engine_than_the_gates() -> None:
    async def story() -> None:
        world = await judged(replace(build.RUNTIME, beside=True), {}, {})
        (name,) = world.deployments
        owner, state = world.deployments[name]
        world.deployments[name] = (owner, replace(state, engine_ready=True, guard_ready=True, ready=1, replicas=1))
        await world.settle()
        assert world.inference_status().phase == Phase.SERVING
        world.add(build.inference(engine=VLLM))
        await world.settle()
        assert not world.deployments
        assert stalled(world.inference_status(), generation=2)[0] == Reason.NO_PASSED_SUBJECT

    told(story)


def test_another_image_of_vllm_asks_only_the_gates_that_judge_with_it() -> None:
    async def story() -> None:
        images = {**build.RUNTIME.images, Image.VLLM: f"x/vllm@{build.digest('newer')}"}
        for engine, asked_again in ((VLLM, True), ({}, False)):
            world = await judged(build.RUNTIME, engine, engine)
            world.runtime = replace(build.RUNTIME, images=images)
            await world.settle()
            assert (world.gate_status().verdict is None) == asked_again

    told(story)


def test_on_one_machine_there_is_no_vllm(tmp_path: Path) -> None:
    assert set(local_images(tmp_path)) == {image for image in Image if image.required}
