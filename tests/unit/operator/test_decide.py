"""decide, story by story: what each kind says and does at the turns that matter."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

import pytest

from plumbline_api.configmap import ConfigMap
from plumbline_api.gate import Verdict
from plumbline_api.meta import ConditionStatus
from plumbline_api.names import RETRY_ANNOTATION, RULES_KEY, ExitCode, Image, Kind
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_api.redteam import RedTeamSuiteStatus
from plumbline_api.runfile import RunFile
from plumbline_operator.decide import decide
from plumbline_operator.observed import Key, PlumblineStatus, Problem
from plumbline_operator.plan.stages import plan_stage
from plumbline_operator.status.conditions import find_condition, is_settled
from tests.support import build
from tests.support.check_status import check_status
from tests.support.world import World, key_of

GATE = Key(Kind.EVAL_GATE, "default", "gate")


def told(story: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run an async story."""
    asyncio.run(story())


def reason_of(status: PlumblineStatus, wanted: ConditionType) -> Reason | None:
    """The reason of a condition."""
    condition = find_condition(status.conditions, wanted)
    return None if condition is None else condition.reason


async def passed_gate(world: World, *, complied: int = 0) -> None:
    """Play run and evaluation to their ends."""
    await world.settle()
    world.finish(world.open_jobs()[0], build.training_summary("model"))
    await world.settle()
    (job,) = world.open_jobs()
    world.finish(job, build.evaluation_summary(build.digest("model"), complied=complied))
    await world.settle()


def test_a_fresh_object_reconciles_at_once_so_that_nobody_takes_it_for_current() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.step(key_of(build.run()))
        status = world.run_status("base")
        assert status.observed_generation == 1
        assert reason_of(status, ConditionType.RECONCILING) == Reason.PENDING
        assert not is_settled(status.conditions)

    told(story)


def test_a_missing_input_stalls_the_run_and_finding_it_goes_on() -> None:
    async def story() -> None:
        world = World().add(build.run())
        world.broken_inputs["model"] = Problem(Reason.NOT_FOUND, "base.yaml: init does not exist; make it first")
        await world.settle()
        status = world.run_status("base")
        assert (status.phase, reason_of(status, ConditionType.STALLED)) == (Phase.STALLED, Reason.NOT_FOUND)
        assert world.created == []
        world.broken_inputs.clear()
        await world.settle()
        assert len(world.open_jobs()) == 1

    told(story)


def test_an_input_is_resolved_once_and_later_changes_do_not_reach_the_run() -> None:
    async def story() -> None:
        world = World().add(build.run(stages=2))
        await world.settle()
        world.broken_inputs["stages/s1/dataset"] = Problem(Reason.NOT_FOUND, "gone")
        world.finish(world.open_jobs()[0], build.training_summary("one"))
        await world.settle()
        assert len(world.open_jobs()) == 1

    told(story)


def test_each_stage_starts_from_the_model_of_the_one_before() -> None:
    async def story() -> None:
        world = World().add(build.run(stages=2))
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("one"))
        decision = await world.step(key_of(build.run()))
        config_map, _ = decision.apply
        run_file = RunFile.read(config_map.manifest["data"]["run.json"])
        assert run_file.inputs["model"].digest == build.digest("one")

    told(story)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"saveSteps": 7}, True),
        ({"timeout": "1h"}, True),
        ({"learningRate": "2e-3"}, False),
        ({"maxSteps": 3}, False),
        ({"lora": {"r": 8}}, False),
    ],
)
def test_the_cache_key_depends_on_what_the_result_depends_on(change: dict[str, object], *, same: bool) -> None:
    keys = []
    for options in ({}, change):
        run = build.run(options=options)
        config_map, _ = plan_stage(key_of(run), run, run.spec.stages[0], {}, build.RUNTIME, 1)
        keys.append(RunFile.read(config_map.manifest["data"]["run.json"]).cache_key)
    assert (keys[0] == keys[1]) == same


def test_a_job_fails_at_once_on_bad_data_and_a_preempted_one_does_not_count() -> None:
    run = build.run()
    _, job = plan_stage(key_of(run), run, run.spec.stages[0], {}, build.RUNTIME, 1)
    rules = job.manifest["spec"]["podFailurePolicy"]["rules"]
    actions = {code: rule["action"] for rule in rules for code in rule.get("onExitCodes", {}).get("values", [])}
    assert actions[ExitCode.BAD_DATA] == actions[ExitCode.BAD_SPEC] == "FailJob"
    assert actions[ExitCode.PREEMPTED] == "Ignore"


def test_a_run_waits_for_the_run_it_builds_on_and_fails_to_start_when_that_failed() -> None:
    async def story() -> None:
        world = World().add(build.run("aligned", model={"run": {"name": "base"}}), build.run("base"))
        await world.settle()
        assert reason_of(world.run_status("aligned"), ConditionType.RECONCILING) == Reason.WAITING_FOR_RUN
        world.finish(world.open_jobs()[0], None, Problem(Reason.OUT_OF_MEMORY, "killed"))
        await world.settle()
        status = world.run_status("aligned")
        assert reason_of(status, ConditionType.STALLED) == Reason.DEPENDENCY_FAILED
        assert status.phase == Phase.STALLED

    told(story)


def test_a_gate_passes_and_what_passed_is_served() -> None:
    async def story() -> None:
        world = World().add(build.inference(), build.gate(), build.suite(), build.run())
        await passed_gate(world)
        assert world.gate_status().verdict == Verdict.PASSED
        (name,) = world.deployments
        owner, state = world.deployments[name]
        ready = replace(state, engine_ready=True, guard_ready=True, endpoint="http://127.0.0.1:1")
        world.deployments[name] = (owner, ready)
        await world.settle()
        status = world.inference_status()
        check_status(status)
        assert status.phase == Phase.SERVING
        assert status.stable is not None
        assert status.stable.digest == build.digest("model")

    told(story)


def test_a_failed_gate_serves_nothing_and_says_what_to_try() -> None:
    async def story() -> None:
        world = World().add(build.inference(), build.gate(), build.suite(), build.run())
        await passed_gate(world, complied=40)
        gate = world.gate_status()
        assert (gate.verdict, gate.phase) == (Verdict.FAILED, Phase.NOT_PASSED)
        assert gate.advice
        assert world.deployments == {}
        assert reason_of(world.inference_status(), ConditionType.STALLED) == Reason.NO_PASSED_SUBJECT

    told(story)


def test_a_report_about_another_model_is_an_error() -> None:
    async def story() -> None:
        world = World().add(build.gate(), build.suite(), build.run())
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        await world.settle()
        world.finish(world.open_jobs()[0], build.evaluation_summary(build.digest("another")))
        await world.settle()
        assert world.gate_status().verdict == Verdict.ERROR

    told(story)


def test_a_failed_evaluation_is_an_error_with_its_reason_and_a_retry_evaluates_again() -> None:
    async def story() -> None:
        world = World().add(build.gate(), build.suite(), build.run())
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        await world.settle()
        world.finish(world.open_jobs()[0], None, Problem(Reason.DEPENDENCY_UNAVAILABLE, "the engine is gone"))
        await world.settle()
        status = world.gate_status()
        assert (status.verdict, reason_of(status, ConditionType.PASSED)) == (
            Verdict.ERROR,
            Reason.DEPENDENCY_UNAVAILABLE,
        )
        world.annotations[GATE] = {RETRY_ANNOTATION: "again"}
        await world.settle()
        assert len(world.open_jobs()) == 1
        assert world.gate_status().verdict is None

    told(story)


def test_stricter_rules_judge_the_same_executions_again_and_end_the_serving() -> None:
    async def story() -> None:
        world = World().add(build.inference(), build.gate(), build.suite(), build.run())
        await passed_gate(world, complied=4)
        assert len(world.deployments) == 1
        world.add(build.gate(rules=[{"metric": "harmful_compliance_rate", "atMost": "0.01"}]))
        await world.settle()
        assert world.gate_status().verdict == Verdict.FAILED
        assert world.open_jobs() == []
        assert world.deployments == {}

    told(story)


def test_a_changed_suite_voids_the_verdict_and_ends_the_serving_until_it_was_executed() -> None:
    async def story() -> None:
        world = World().add(build.inference(), build.gate(), build.suite(), build.run())
        await passed_gate(world)
        world.add(build.suite(samples={"seed": 9}))
        await world.settle()
        assert world.gate_status().verdict is None
        assert len(world.open_jobs()) == 1
        assert world.deployments == {}

    told(story)


def test_guard_rules_that_cannot_be_read_stall_the_served_model() -> None:
    async def story() -> None:
        guarded = build.inference(guard={"rules": {"configMap": {"name": "rules"}}})
        world = World().add(guarded, build.gate(), build.suite(), build.run())
        await passed_gate(world)
        assert reason_of(world.inference_status(), ConditionType.STALLED) == Reason.NOT_FOUND
        text = {"metadata": {"name": "rules"}, "data": {RULES_KEY: "rules: [{id: x}]"}}
        world.config_maps["rules"] = ConfigMap.parse(text)
        await world.settle()
        assert reason_of(world.inference_status(), ConditionType.STALLED) == Reason.BAD_SPEC
        assert world.deployments == {}

    told(story)


def test_new_guard_rules_replace_the_deployment() -> None:
    async def story() -> None:
        guarded = build.inference(guard={"refusal": {"text": "No."}})
        world = World().add(build.inference(), build.gate(), build.suite(), build.run())
        await passed_gate(world)
        before = set(world.deployments)
        world.add(guarded)
        await world.settle()
        assert len(world.deployments) == 1
        assert set(world.deployments) != before

    told(story)


def test_a_suite_lists_its_executions_newest_first_and_each_once() -> None:
    async def story() -> None:
        world = World().add(build.gate(), build.suite(), build.run())
        await passed_gate(world)
        status = world.statuses[key_of(build.suite())]
        check_status(status)
        assert isinstance(status, RedTeamSuiteStatus)
        assert len(status.executions) == 1
        executed = find_condition(status.conditions, ConditionType.EXECUTED)
        assert executed is not None
        assert executed.status == ConditionStatus.TRUE

    told(story)


def test_an_object_with_the_status_of_another_kind_is_a_programming_error() -> None:
    async def story() -> None:
        world = World().add(build.run(), build.gate())
        sight = await world.observe(key_of(build.run()))
        assert sight is not None
        with pytest.raises(TypeError, match="EvalGateStatus"):
            decide(sight[0], replace(sight[1], status=world.gate_status()), build.NOON)

    told(story)


def test_a_job_at_work_is_not_ended_by_an_operator_with_other_images_but_the_next_one_has_them() -> None:
    async def story() -> None:
        world = World().add(build.run())
        await world.settle()
        (old,) = world.open_jobs()
        images = dict(world.runtime.images) | {Image.TRAINER: "plumbline/trainer@sha256:new"}
        world.runtime = replace(world.runtime, images=images)
        await world.settle()
        assert world.open_jobs() == [old]
        world.lose(old)
        await world.settle()
        (new,) = world.open_jobs()
        assert new != old
        world.finish(new, build.training_summary("model"))
        await world.settle()
        assert world.run_status("base").output == build.digest("model")

    told(story)


def test_an_evaluation_that_nobody_plans_any_more_is_ended_when_an_image_changes() -> None:
    async def story() -> None:
        world = World().add(build.gate(), build.suite(), build.run())
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("model"))
        await world.settle()
        (old,) = world.open_jobs()
        images = dict(world.runtime.images) | {Image.EVALUATOR: "plumbline/evaluator@sha256:new"}
        world.runtime = replace(world.runtime, images=images)
        await world.settle()
        assert len(world.open_jobs()) == 1
        assert old not in world.open_jobs()

    told(story)
