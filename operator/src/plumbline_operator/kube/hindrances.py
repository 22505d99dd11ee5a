"""What keeps the operator from doing what was decided, in words for the object's author, and as a status. Pure.

Most failures of a call pass by themselves and are retried without a word. Some do not: a role lacks a verb, a quota is
used up, a name is taken. These become the object's condition, so that nobody has to read the operator's log.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from plumbline_api.alignment import AlignmentRunStatus
from plumbline_api.gate import EvalGateStatus
from plumbline_api.guarded import GuardedInferenceStatus
from plumbline_api.meta import ConditionStatus
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_api.redteam import RedTeamSuiteStatus
from plumbline_operator.kube.api.errors import Forbidden, Invalid
from plumbline_operator.kube.cluster import ChildInTheWay
from plumbline_operator.kube.seen.documents import SpecRefused
from plumbline_operator.observed import PlumblineStatus, Problem
from plumbline_operator.status.conditions import Fact, Stopped, find_condition, write_conditions

__all__ = ["explain_failure", "hindered"]

_MANY: Final = 3
"""Failures in a row after which a defect of the operator is worth a condition."""
_FACTS: Final[Mapping[type[PlumblineStatus], tuple[ConditionType, ...]]] = {
    AlignmentRunStatus: (ConditionType.VALIDATED, ConditionType.SUCCEEDED, ConditionType.SUSPENDED),
    RedTeamSuiteStatus: (ConditionType.VALIDATED, ConditionType.EXECUTED),
    EvalGateStatus: (ConditionType.COMPLETED, ConditionType.PASSED),
    GuardedInferenceStatus: (ConditionType.GATE_SATISFIED, ConditionType.MODEL_READY, ConditionType.GUARD_READY),
}
"""The conditions that every status of a kind has, beside the common ones."""


def explain_failure(error: Exception, failures: int) -> Problem | None:
    """What an error means for the object, or None where it is likely to pass.

    Args:
        error: What a turn of work ended with.
        failures: How many turns in a row have.
    """
    match error:
        case SpecRefused():
            return Problem(Reason.BAD_SPEC, f"{error}; correct the manifest")
        case Forbidden() if error.lacking:
            return Problem(Reason.NOT_PERMITTED, _explain_role(error))
        case Forbidden() | Invalid():
            return Problem(Reason.NOT_PERMITTED, f"the API server refuses to {error}")
        case ChildInTheWay():
            return None if error.passing else Problem(Reason.BAD_CONFIGURATION, str(error))
        case OSError() | TimeoutError():
            return None
    if failures < _MANY or type(error).__module__.startswith(_EXPECTED):
        return None
    fact = f"the operator itself fails on this object ({type(error).__name__})"
    return Problem(Reason.INTERNAL_ERROR, f"{fact}; its log says where, and this is a defect to report")


_EXPECTED: Final = "plumbline_operator.kube."
"""Errors that are defined there are foreseen, and pass."""


def _explain_role(error: Forbidden) -> str:
    call = error.call
    resource, _, group = call.resource.partition(".")
    what = resource + (f"/{call.subresource}" if call.subresource else "")
    verb = error.lacking
    if "blockOwnerDeletion" in error.fact:
        what = "finalizers of its own kinds"
    where = f" in namespace {call.namespace}" if call.namespace else ""
    remedy = f"add the verb {verb} on {what}" + (f" (API group {group})" if group else "")
    return f"the operator may not {verb} {what}{where}; {remedy} to its role"


def hindered(before: PlumblineStatus, problem: Problem, generation: int, now: datetime) -> PlumblineStatus | None:
    """The status that says so; None where the object has ended, and its end stands."""
    if getattr(before, "completion_time", None) is not None:
        return None
    facts = [_fact(kind, before, problem) for kind in _FACTS[type(before)]]
    outcome = Stopped(problem.reason, problem.message)
    conditions = write_conditions(outcome, facts, previous=before.conditions, generation=generation, now=now)
    return before.model_copy(
        update={"observed_generation": generation, "conditions": conditions, "phase": Phase.STALLED}
    )


def _fact(kind: ConditionType, before: PlumblineStatus, problem: Problem) -> Fact:
    """What was known stays; what never was is unknown. Nothing that is hindered is merely paused."""
    if kind == ConditionType.SUSPENDED:
        return Fact(kind, ConditionStatus.FALSE, problem.reason, problem.message)
    known = find_condition(before.conditions, kind)
    if known is None:
        return Fact(kind, ConditionStatus.UNKNOWN, problem.reason, problem.message)
    return Fact(kind, known.status, known.reason, known.message)
