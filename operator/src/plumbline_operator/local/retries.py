"""Whether a Job is done, and when it is tried again: backoffLimit, podFailurePolicy, deadline. Pure; used by `jobs`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from plumbline_operator.local.podplan import Cause, PodResult

__all__ = ["Again", "GiveUp", "Succeeded", "decide_next", "was_disrupted"]

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Succeeded:
    """The last attempt did what the Job is for."""


@dataclass(frozen=True)
class GiveUp:
    """No attempt will follow."""

    last: PodResult
    exhausted: bool = False
    """Whether the cause would have allowed another attempt."""


@dataclass(frozen=True)
class Again:
    """Start another attempt at this time (seconds since the epoch)."""

    at: float
    seconds_left: float | None
    """What the Job's deadline leaves."""


class _Action(Enum):
    FAIL = auto()
    IGNORE = auto()
    COUNT = auto()


def decide_next(
    spec: Spec, results: Sequence[PodResult], *, first: float, longest: float
) -> Succeeded | GiveUp | Again:
    """What follows from the attempts so far; delays start at `first` seconds and double up to `longest`."""
    left = _seconds_left(spec, results)
    if not results:
        return Again(0.0, left)
    last = results[-1]
    if last.cause == Cause.EXITED and last.exit_code == 0:
        return Succeeded()
    if last.cause == Cause.DEADLINE or (left is not None and left <= 0):
        return GiveUp(_past_deadline(last))
    if last.cause == Cause.NOT_STARTED or _action(spec, last) == _Action.FAIL:
        return GiveUp(last)
    counted = sum(_action(spec, result) == _Action.COUNT for result in results)
    if _action(spec, last) == _Action.COUNT and counted > _limit(spec):
        return GiveUp(last, exhausted=counted > 1)
    return Again(last.ended + _delay(results, first, longest), left)


def _limit(spec: Spec) -> int:
    """Counted attempts; several nodes, which a cluster counts one by one, make each attempt together here."""
    return int(spec.get("backoffLimitPerIndex", spec.get("backoffLimit", 6)))


def was_disrupted(result: PodResult) -> bool:
    """Whether an attempt ended because it was told to, or because its pod process vanished."""
    return result.cause in (Cause.STOPPED, Cause.LOST)


def _action(spec: Spec, result: PodResult) -> _Action:
    if was_disrupted(result):
        return _Action.IGNORE
    for rule in spec.get("podFailurePolicy", {}).get("rules", ()):
        wanted = rule.get("onExitCodes")
        if wanted is not None and result.cause == Cause.EXITED and _matches(wanted, result):
            return {"FailJob": _Action.FAIL, "Ignore": _Action.IGNORE}.get(rule["action"], _Action.COUNT)
    return _Action.COUNT


def _matches(wanted: Mapping[str, Any], result: PodResult) -> bool:
    if wanted.get("containerName", result.container) != result.container:
        return False
    return bool((result.exit_code in wanted["values"]) == (wanted["operator"] == "In"))


def _seconds_left(spec: Spec, results: Sequence[PodResult]) -> float | None:
    """Time in which nothing ran does not count: a machine may be off between two attempts."""
    deadline = spec.get("activeDeadlineSeconds")
    return None if deadline is None else float(deadline) - sum(result.ended - result.started for result in results)


def _past_deadline(last: PodResult) -> PodResult:
    return PodResult(Cause.DEADLINE, last.container, last.exit_code, last.started, last.ended, last.message)


def _delay(results: Sequence[PodResult], first: float, longest: float) -> float:
    """Doubles with each attempt that ended badly; a stop or a lost pod is no fault, so the first one costs nothing."""
    faults = len(results) - (1 if was_disrupted(results[-1]) else 0)
    if results[-1].cause == Cause.STOPPED or faults == 0:
        return 0.0
    return float(min(longest, first * 2.0 ** min(faults - 1, 30)))
