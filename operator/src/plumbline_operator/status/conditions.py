"""Outcomes and the conditions they become: the one place that writes Ready, Reconciling, Stalled and the phase.

Called by the deciders of the four kinds. The rules are those of the Kubernetes API conventions and kstatus: Ready is
always present; Reconciling and Stalled exist only while True, never together; a transition time moves with the
status of its condition alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from plumbline_api.meta import Condition, ConditionStatus
from plumbline_api.reasons import ConditionType, Reason

__all__ = [
    "Done", "Fact", "Outcome", "Paused", "Stopped", "Working", "find_condition", "is_settled", "restamp",
    "write_conditions",
]  # fmt: skip

_MESSAGE_LIMIT = 1024


@dataclass(frozen=True)
class Working:
    """Something is going on or awaited; the object will be looked at again."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Stopped:
    """A person must act; nothing will happen until the spec, an input or an annotation changes."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Done:
    """The object has what it was made for."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Paused:
    """The spec asks for a pause: nothing is wrong, and nothing happens until it is changed."""

    reason: Reason
    message: str


Outcome = Working | Stopped | Done | Paused


@dataclass(frozen=True)
class Fact:
    """A condition of one kind beside the three common ones."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str


def write_conditions(
    outcome: Outcome,
    facts: Sequence[Fact],
    *,
    previous: Sequence[Condition],
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """All conditions of a status, Ready first."""
    ready = ConditionStatus.TRUE if isinstance(outcome, Done) else ConditionStatus.FALSE
    wanted = [Fact(ConditionType.READY, ready, outcome.reason, outcome.message)]
    if isinstance(outcome, Working):
        wanted.append(Fact(ConditionType.RECONCILING, ConditionStatus.TRUE, outcome.reason, outcome.message))
    if isinstance(outcome, Stopped):
        wanted.append(Fact(ConditionType.STALLED, ConditionStatus.TRUE, outcome.reason, outcome.message))
    wanted.extend(facts)
    return tuple(_write(fact, find_condition(previous, fact.type), generation, now) for fact in wanted)


def restamp(conditions: Sequence[Condition], generation: int) -> tuple[Condition, ...]:
    """The same conditions, said of a newer generation of the spec, which changes nothing of them."""
    return tuple(
        condition
        if condition.observed_generation == generation
        else condition.model_copy(update={"observed_generation": generation})
        for condition in conditions
    )


def _write(fact: Fact, before: Condition | None, generation: int, now: datetime) -> Condition:
    message = fact.message[:_MESSAGE_LIMIT]
    if before is not None and before.status == fact.status:
        if (before.reason, before.message, before.observed_generation) == (fact.reason, message, generation):
            return before
        moment = before.last_transition_time
    else:
        moment = now.replace(microsecond=0)
    return Condition(
        type=fact.type,
        status=fact.status,
        reason=fact.reason,
        message=message,
        observed_generation=generation,
        last_transition_time=moment,
    )


def find_condition(conditions: Sequence[Condition], wanted: ConditionType) -> Condition | None:
    """The condition of this type, or None."""
    return next((condition for condition in conditions if condition.type == wanted), None)


def is_settled(conditions: Sequence[Condition]) -> bool:
    """Whether nothing more will happen by itself: decided at least once, and not Reconciling."""
    return bool(conditions) and find_condition(conditions, ConditionType.RECONCILING) is None
