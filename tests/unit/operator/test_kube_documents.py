"""Objects between the API server's JSON and the models; inputs of a namespace; what hinders, in words."""

from datetime import timedelta
from typing import Any

import pytest

from plumbline_api.alignment import AlignmentRunStatus, StageState, StageStatus
from plumbline_api.gate import EvalGateStatus
from plumbline_api.meta import Condition, ConditionStatus
from plumbline_api.names import INPUTS_CONFIG_MAP, INPUTS_KEY, Kind
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_operator.kube.api.errors import Call, Forbidden, Invalid, NotFound, Unavailable
from plumbline_operator.kube.cluster import ChildInTheWay
from plumbline_operator.kube.hindrances import explain_failure, hindered
from plumbline_operator.kube.seen.documents import (
    SpecRefused,
    StatusUnreadable,
    owner_reference,
    parse_config_map,
    parse_object,
    parse_status,
    status_body,
)
from plumbline_operator.kube.seen.inputs import needs_table, read_table, resolve_inputs
from plumbline_operator.observed import Key, Problem
from plumbline_operator.references import STATUS_TYPES
from tests.support import build
from tests.support.check_status import check_status

RUN = Kind.ALIGNMENT_RUN
KEY = Key(RUN, "ns", "base")
CREATE = Call("create", "jobs.batch", "ns", "base-s0")


def raw(**metadata: Any) -> dict[str, Any]:
    given = build.run().dump()
    return {**given, "metadata": {"name": "base", "namespace": "ns", "uid": "u1", "resourceVersion": "7"} | metadata}


# Objects


def test_what_a_newer_operator_added_is_passed_over() -> None:
    given = raw()
    given["spec"]["future"] = {"deep": True}
    given["spec"]["stages"][0]["sft"]["futureOption"] = 1
    given["status"] = {"observedGeneration": 3, "futureField": []}
    assert parse_object(RUN, given).spec == build.run().spec
    status = parse_status(RUN, given)
    assert isinstance(status, AlignmentRunStatus)
    assert status.observed_generation == 3


def test_a_spec_that_the_models_refuse_is_told_by_its_field_and_without_its_value() -> None:
    given = raw()
    given["spec"]["stages"][0]["sft"]["learningRate"] = "a-secret"
    with pytest.raises(SpecRefused, match=r"spec.stages.0.sft.learningRate: ") as refused:
        parse_object(RUN, given)
    assert "a-secret" not in str(refused.value)


def test_what_a_newer_operator_wrote_into_a_status_is_written_back() -> None:
    row = {"name": "s0", "type": "sft", "state": "Pending", "message": "", "cached": False, "novel": [1]}
    status = {"stages": [row, row | {"name": "s1"}], "novel": {"deep": {"deeper": 1}}}
    known = parse_status(Kind.ALIGNMENT_RUN, {"status": status}).model_copy(update={"attempt": 2})
    written = status_body(Key(Kind.ALIGNMENT_RUN, "default", "base"), "u-1", "1", known)["status"]
    assert (written["novel"], written["attempt"]) == (status["novel"], 2)
    assert written["stages"] == status["stages"]


def test_a_status_of_a_newer_operator_is_not_taken_for_an_empty_one() -> None:
    with pytest.raises(StatusUnreadable, match="phase"):
        parse_status(RUN, raw() | {"status": {"phase": "Levitating"}})
    assert parse_status(RUN, raw()) == AlignmentRunStatus()


def test_metadata_of_other_tools_does_not_spoil_an_object() -> None:
    labels = {f"label-{number}": "x" for number in range(50)}
    found = parse_object(RUN, raw(labels=labels, annotations={"plumbline.dev/retry": "x" * 9000}))
    assert len(found.metadata.labels) == 32
    assert len(found.metadata.annotations["plumbline.dev/retry"]) == 4096
    assert found.metadata.namespace == "ns"


def test_a_status_is_written_to_exactly_the_state_that_was_seen() -> None:
    body = status_body(KEY, "u1", "7", AlignmentRunStatus(observed_generation=2))
    assert body["metadata"] == {"name": "base", "namespace": "ns", "uid": "u1", "resourceVersion": "7"}
    assert body["status"]["observedGeneration"] == 2
    assert "spec" not in body
    assert parse_status(RUN, body) == AlignmentRunStatus(observed_generation=2)


def test_a_child_names_its_owner_as_its_controller() -> None:
    reference = owner_reference(KEY, "u1")
    assert (reference["kind"], reference["name"], reference["uid"]) == ("AlignmentRun", "base", "u1")
    assert reference["controller"] is reference["blockOwnerDeletion"] is True


def test_a_config_map_is_read_as_far_as_it_holds_text() -> None:
    found = parse_config_map({"metadata": {"name": "rules", "namespace": "ns"}, "data": {"rules.yaml": "rules: []"}})
    assert found.data == {"rules.yaml": "rules: []"}
    with pytest.raises(SpecRefused, match="data"):
        parse_config_map({"metadata": {"name": "rules"}, "data": {"rules.yaml": "x" * 1_000_001}})


# Inputs


def table(text: str | None) -> Any:
    data = {} if text is None else {INPUTS_KEY: text}
    return read_table({"metadata": {}, "data": data}, "ns")


def test_a_path_is_found_with_its_digest_in_the_store() -> None:
    known = table(f"init: {build.digest('init')}\ndata.jsonl: {build.digest('data')}\n")
    inputs = resolve_inputs(build.run(), AlignmentRunStatus(), known, "s3://bucket")
    model = inputs["model"].resolved
    assert model is not None
    assert (model.uri, model.digest) == ("s3://bucket", build.digest("init"))
    assert all(found.problem is None for found in inputs.values())


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (read_table(None, "ns"), "does not exist"),
        (table(None), f"has no key {INPUTS_KEY}"),
        (table("- a list"), "is not a mapping"),
        (table("init: not-a-digest"), "is not a mapping"),
        (table("init: [1"), "is not a mapping"),
        (table(""), "names the file init, which"),
    ],
)
def test_whatever_is_missing_is_told_with_the_remedy(found: Any, words: str) -> None:
    problem = resolve_inputs(build.run(), AlignmentRunStatus(), found, "s3://b")["model"].problem
    assert problem is not None
    assert words in problem.message
    assert INPUTS_CONFIG_MAP in problem.message
    assert "plumbline push" in problem.message


def test_what_a_status_has_recorded_is_not_looked_up_again() -> None:
    run = build.run()
    known = table(f"init: {build.digest('init')}\ndata.jsonl: {build.digest('data')}\n")
    recorded = resolve_inputs(run, AlignmentRunStatus(), known, "s3://b")
    inputs = [
        {"name": name, "uri": found.resolved.uri, "digest": found.resolved.digest}
        for name, found in recorded.items()
        if found.resolved is not None
    ]
    status = AlignmentRunStatus.parse({"inputs": inputs})
    assert needs_table(run, AlignmentRunStatus())
    assert not needs_table(run, status)
    assert resolve_inputs(run, status, {}, "s3://b") == recorded


# What hinders


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (SpecRefused("spec.seed: too big"), Reason.BAD_SPEC, "spec.seed: too big; correct the manifest"),
        (
            Forbidden(CREATE, 'User "x" cannot create resource "jobs" in API group "batch"', code=403),
            Reason.NOT_PERMITTED,
            "may not create jobs in namespace ns; add the verb create on jobs (API group batch) to its role",
        ),
        (
            Forbidden(
                Call("update", "evalgates.plumbline.dev", "ns", "g", "status"),
                'User "x" cannot update resource "evalgates/status"',
            ),
            Reason.NOT_PERMITTED,
            "add the verb update on evalgates/status (API group plumbline.dev) to its role",
        ),
        (
            Forbidden(CREATE, "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't ..."),
            Reason.NOT_PERMITTED,
            "may not update finalizers of its own kinds",
        ),
        (Forbidden(CREATE, "exceeded quota: small"), Reason.NOT_PERMITTED, "exceeded quota: small"),
        (Invalid(CREATE, "spec.x: wrong", code=422), Reason.NOT_PERMITTED, "refuses to create jobs.batch base-s0"),
        (ChildInTheWay("Job x belongs to nobody"), Reason.BAD_CONFIGURATION, "belongs to nobody"),
    ],
)
def test_what_a_person_must_put_right_is_told(error: Exception, reason: Reason, words: str) -> None:
    problem = explain_failure(error, 1)
    assert problem is not None
    assert problem.reason == reason
    assert words in problem.message


@pytest.mark.parametrize(
    "error",
    [
        Unavailable(CREATE, "no answer"),
        NotFound(CREATE, "namespaces not found"),
        ChildInTheWay("still being deleted", passing=True),
        TimeoutError(),
    ],
)
def test_what_passes_by_itself_is_not_told(error: Exception) -> None:
    assert explain_failure(error, 50) is None


def test_a_defect_is_told_when_it_does_not_pass_and_without_what_it_says() -> None:
    error = KeyError("a harmful prompt")
    assert explain_failure(error, 1) is None
    problem = explain_failure(error, 3)
    assert problem is not None
    assert problem.reason == Reason.INTERNAL_ERROR
    assert "harmful" not in problem.message


def test_a_hindered_object_says_so_and_keeps_what_it_knows() -> None:
    passed = Condition(
        type=ConditionType.PASSED,
        status=ConditionStatus.UNKNOWN,
        reason=Reason.EVALUATING,
        message="1 of 2",
        observed_generation=1,
        last_transition_time=build.NOON,
    )
    before = EvalGateStatus(conditions=(passed,), phase=Phase.RUNNING, attempt=2)
    problem = Problem(Reason.NOT_PERMITTED, "the operator may not")
    after = hindered(before, problem, 4, build.later(60))
    assert isinstance(after, EvalGateStatus)
    assert (after.phase, after.attempt, after.observed_generation) == (Phase.STALLED, 2, 4)
    found = {condition.type: condition for condition in after.conditions}
    assert found[ConditionType.COMPLETED].status == ConditionStatus.UNKNOWN
    assert found[ConditionType.STALLED].message == "the operator may not"
    assert found[ConditionType.PASSED].last_transition_time == build.NOON
    check_status(after, 4)
    assert hindered(after, problem, 4, build.later(0) + timedelta(hours=2)) == after, "saying it again is no change"


@pytest.mark.parametrize("kind", Kind)
def test_whatever_hinders_a_fresh_object_its_status_keeps_every_rule(kind: Kind) -> None:
    before = STATUS_TYPES[kind]()
    after = hindered(before, Problem(Reason.BAD_SPEC, "spec.seed: too big; correct the manifest"), 1, build.NOON)
    assert after is not None
    check_status(after)


def test_the_end_of_a_run_stands_whatever_hinders_later() -> None:
    row = StageStatus(name="s0", type="sft", state=StageState.SUCCEEDED)
    ended = AlignmentRunStatus(stages=(row,), completion_time=build.NOON, phase=Phase.SUCCEEDED)
    assert hindered(ended, Problem(Reason.BAD_SPEC, "no"), 1, build.NOON) is None
