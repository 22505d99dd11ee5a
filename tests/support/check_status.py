"""The checker of statuses: rules that every status of ours keeps at every moment. Each has a name that fails loudly."""

from collections.abc import Sequence

from plumbline_api.alignment import AlignmentRunStatus, StageState
from plumbline_api.gate import EvalGateStatus, Verdict
from plumbline_api.guarded import GuardedInferenceStatus
from plumbline_api.meta import Condition, ConditionStatus
from plumbline_api.reasons import ConditionType, Phase
from plumbline_operator.observed import PlumblineStatus
from plumbline_operator.status.conditions import find_condition

ALWAYS = {
    AlignmentRunStatus: {
        ConditionType.READY,
        ConditionType.VALIDATED,
        ConditionType.SUCCEEDED,
        ConditionType.SUSPENDED,
    },
    EvalGateStatus: {ConditionType.READY, ConditionType.COMPLETED, ConditionType.PASSED},
    GuardedInferenceStatus: {
        ConditionType.READY,
        ConditionType.GATE_SATISFIED,
        ConditionType.MODEL_READY,
        ConditionType.GUARD_READY,
    },
}


def check_status(status: PlumblineStatus, generation: int = 1) -> None:
    """Assert every rule on one status."""
    conditions = status.conditions
    types = [condition.type for condition in conditions]
    assert len(set(types)) == len(types), f"CHECK01 a condition type stands twice: {types}"
    assert ConditionType.READY in types, "CHECK02 Ready is always present"
    missing = ALWAYS.get(type(status), {ConditionType.READY}) - set(types)
    assert not missing, f"CHECK03 conditions of this kind are missing: {missing}"
    _check_trio(conditions)
    assert status.observed_generation <= generation, "CHECK07 observedGeneration never exceeds generation"
    for condition in conditions:
        same = condition.observed_generation == status.observed_generation
        assert same, "CHECK08 every condition speaks of the generation that the status speaks of"
        assert condition.last_transition_time.microsecond == 0, "CHECK09 times have whole seconds"
    _check_kind(status)


def _check_trio(conditions: Sequence[Condition]) -> None:
    reconciling = find_condition(conditions, ConditionType.RECONCILING)
    stalled = find_condition(conditions, ConditionType.STALLED)
    ready = find_condition(conditions, ConditionType.READY)
    for found in (reconciling, stalled):
        assert found is None or found.status == ConditionStatus.TRUE, f"CHECK04 {found} exists only while True"
    assert reconciling is None or stalled is None, "CHECK05 Reconciling and Stalled are never together"
    suspended = find_condition(conditions, ConditionType.SUSPENDED)
    paused = suspended is not None and suspended.status == ConditionStatus.TRUE
    assert not paused or (reconciling is None and stalled is None), "CHECK18 what is suspended neither works nor stalls"
    at_rest = reconciling is None and stalled is None and not paused
    expected = ConditionStatus.TRUE if at_rest else ConditionStatus.FALSE
    assert ready is not None, "CHECK02 Ready is always present"
    assert ready.status == expected, f"CHECK06 Ready is {ready.status}, expected {expected}"


def _check_kind(status: PlumblineStatus) -> None:
    if isinstance(status, AlignmentRunStatus):
        ended = status.phase in (Phase.SUCCEEDED, Phase.FAILED)
        assert (status.completion_time is not None) == ended, "CHECK10 a run that ended has a completionTime"
        assert (status.output is not None) == (status.phase == Phase.SUCCEEDED), "CHECK11 output if and only if good"
        succeeded = find_condition(status.conditions, ConditionType.SUCCEEDED)
        assert succeeded is not None, "CHECK12 Succeeded is always present"
        known = succeeded.status != ConditionStatus.UNKNOWN
        assert known == ended, "CHECK13 Succeeded is known if and only if the run ended"
        suspended = find_condition(status.conditions, ConditionType.SUSPENDED)
        assert suspended is not None, "CHECK03 Suspended is always present"
        paused = suspended.status == ConditionStatus.TRUE
        assert paused == (status.phase == Phase.SUSPENDED), "CHECK19 the phase says what the condition says"
        assert not paused or StageState.RUNNING not in {row.state for row in status.stages}, "CHECK20 nothing runs"
    if isinstance(status, EvalGateStatus):
        passed = find_condition(status.conditions, ConditionType.PASSED)
        assert passed is not None, "CHECK14 Passed is always present"
        assert (passed.status == ConditionStatus.TRUE) == (status.verdict == Verdict.PASSED), "CHECK15 Passed lies"
        assert status.verdict is None or status.binding is not None, "CHECK16 a verdict is bound to digests"
    if isinstance(status, GuardedInferenceStatus) and status.phase == Phase.SERVING:
        assert status.stable is not None, "CHECK17 what is served is named"
