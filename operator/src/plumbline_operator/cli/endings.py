"""The exit code of a command that waited for objects: what scripts decide by. Pure."""

from collections.abc import Iterable

from plumbline_api.gate import EvalGateStatus
from plumbline_api.meta import ConditionStatus
from plumbline_api.names import ExitCode
from plumbline_api.reasons import ConditionType, Reason
from plumbline_operator.observed import PlumblineStatus
from plumbline_operator.status.conditions import find_condition

__all__ = ["exit_code"]

_CODES = {
    Reason.BAD_SPEC: ExitCode.BAD_SPEC,
    Reason.SPEC_CHANGED: ExitCode.BAD_SPEC,
    Reason.NOT_FOUND: ExitCode.BAD_SPEC,
    Reason.SECRET_MISSING: ExitCode.BAD_SPEC,
    Reason.UNSUPPORTED_BY_RUNTIME: ExitCode.BAD_SPEC,
    Reason.BAD_DATA: ExitCode.BAD_DATA,
    Reason.DIGEST_MISMATCH: ExitCode.BAD_DATA,
    Reason.SIGNATURE_INVALID: ExitCode.BAD_DATA,
    Reason.DEPENDENCY_UNAVAILABLE: ExitCode.UNAVAILABLE,
    Reason.GUARD_UNAVAILABLE: ExitCode.UNAVAILABLE,
    Reason.ENGINE_UNAVAILABLE: ExitCode.UNAVAILABLE,
    Reason.NOT_PERMITTED: ExitCode.NOT_PERMITTED,
    Reason.BAD_CONFIGURATION: ExitCode.BAD_CONFIG,
}
_CONSEQUENCES = (Reason.DEPENDENCY_FAILED, Reason.NO_PASSED_SUBJECT)


def exit_code(statuses: Iterable[PlumblineStatus]) -> int:
    """0 when everything is Ready; 1 when the answer is no; otherwise the code of the first cause.

    A gate with a verdict has done its work whatever it says: its no is 1. What merely follows from another object's
    failure is passed over.
    """
    codes = [code for status in statuses if (code := _code(status)) is not None]
    causes = [code for code in codes if code != ExitCode.NOT_PASSED]
    return causes[0] if causes else (ExitCode.NOT_PASSED if codes else ExitCode.OK)


def _code(status: PlumblineStatus) -> int | None:
    stalled = find_condition(status.conditions, ConditionType.STALLED)
    if stalled is None:
        ready = find_condition(status.conditions, ConditionType.READY)
        # Neither ready nor stalled: it was interrupted, waits for something that was, or is suspended.
        return None if ready is None or ready.status == ConditionStatus.TRUE else ExitCode.PREEMPTED
    if stalled.reason in _CONSEQUENCES:
        return ExitCode.NOT_PASSED
    if isinstance(status, EvalGateStatus) and status.verdict is not None and stalled.reason not in _CODES:
        return ExitCode.NOT_PASSED
    return _CODES.get(stalled.reason, ExitCode.INTERNAL)
