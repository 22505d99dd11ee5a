"""decide for an AlignmentRun: resolve inputs, run the stages in order, tell how it goes.

What has been recorded stays: an input is resolved once, a stage that succeeded is never run again (even when its
Job is deleted), a finished run changes only when a new retry nonce asks for it. A pause deletes the Job at work; its
result is recorded where it came first.
"""

from dataclasses import replace
from datetime import datetime

from plumbline_api import names
from plumbline_api.alignment import (
    AlignmentRun,
    AlignmentRunStatus,
    ResolvedInput,
    StageState,
    StageStatus,
)
from plumbline_api.meta import ConditionStatus
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_api.runfile import Input
from plumbline_operator.decision import Decision, Event, EventType
from plumbline_operator.kinds.references import be_patient, from_input, from_run, outdated
from plumbline_operator.kinds.stages import Walk, halt, walk_stages
from plumbline_operator.kinds.waiting import soonest
from plumbline_operator.observed import ChildRef, Observed
from plumbline_operator.plan.inputs import MODEL, dataset_input, held_out_input
from plumbline_operator.status.conditions import (
    Done,
    Fact,
    Outcome,
    Paused,
    Stopped,
    Working,
    restamp,
    write_conditions,
)

__all__ = ["decide_run"]

Inputs = dict[str, Input]


def decide_run(run: AlignmentRun, observed: Observed, before: AlignmentRunStatus, now: datetime) -> Decision:
    """The Decision for one AlignmentRun."""
    status = _begin(run, observed, before)
    if _is_finished(status):
        return _rest(run, observed, status, now)
    inputs = _untrustworthy(run, observed) or _resolve(run, observed, status)
    if isinstance(inputs, Working | Stopped):
        lack, look = be_patient(inputs, status.conditions, observed, now)
        awaited = _pause(status.stages) if run.spec.suspend else lack
        decision = _conclude(run, status, Walk(status.stages), observed, now, outcome=awaited)
        return replace(decision, wake_after=soonest(decision.wake_after, look))
    if len(status.inputs) < len(inputs):
        status = status.model_copy(update={"inputs": _record(inputs, run)})
    walk = walk_stages(run, observed, status, inputs, now)
    outcome: Outcome = _outcome(walk.rows)
    if run.spec.suspend and isinstance(outcome, Working):
        walk = halt(walk, observed)
        outcome = _pause(walk.rows)
    return _conclude(run, status, walk, observed, now, outcome=outcome)


def _begin(run: AlignmentRun, observed: Observed, before: AlignmentRunStatus) -> AlignmentRunStatus:
    """The status to go on from: rows for all stages, and a new attempt where a person asked for one."""
    rows = before.stages or tuple(StageStatus(name=stage.name, type=stage.chosen) for stage in run.spec.stages)
    status = before.model_copy(update={"stages": rows, "observed_generation": observed.generation})
    nonce = observed.annotations.get(names.RETRY_ANNOTATION, "")[:256]
    if nonce == before.retry:
        return status
    if not any(row.state == StageState.FAILED for row in rows):
        return status.model_copy(update={"retry": nonce})
    again = tuple(StageStatus(name=row.name, type=row.type) if row.state == StageState.FAILED else row for row in rows)
    changes = {"stages": again, "retry": nonce, "attempt": before.attempt + 1, "completion_time": None}
    return status.model_copy(update=changes)


def _is_finished(status: AlignmentRunStatus) -> bool:
    return status.completion_time is not None


def _rest(run: AlignmentRun, observed: Observed, status: AlignmentRunStatus, now: datetime) -> Decision:
    """What is left to do for a run that has ended: nothing of it runs, and its children go when their time is over."""
    expired, left = _expiry(run, observed, status.completion_time, now)
    return Decision(
        status=status.model_copy(update={"conditions": restamp(status.conditions, observed.generation)}),
        delete=expired or outdated(observed, ()),
        wake_after=left,
    )


def _expiry(
    run: AlignmentRun, observed: Observed, ended: datetime | None, now: datetime
) -> tuple[tuple[ChildRef, ...], float | None]:
    """The children whose time is over, or the seconds until it is."""
    seconds = run.spec.ttl_seconds_after_finished
    if seconds is None or ended is None:
        return (), None
    left = seconds - (now - ended).total_seconds()
    return ((), left) if left > 0 else (tuple(sorted(observed.children)), None)


def _untrustworthy(run: AlignmentRun, observed: Observed) -> Stopped | None:
    """Why nobody here may use what the run would make; told before it takes hours to make it."""
    if observed.runtime.trust is None or run.spec.output.sign is not None:
        return None
    fact = "spec.output.sign is missing, but here only signed models are trained from and served"
    remedy = "delete this run, and apply it again with the Secret that holds the signing key"
    return Stopped(Reason.BAD_SPEC, f"{fact}; {remedy}")


def _resolve(run: AlignmentRun, observed: Observed, status: AlignmentRunStatus) -> Inputs | Working | Stopped:
    """Every input of the run by name; what the status holds already is not looked up again."""
    inputs: Inputs = {found.name: Input(uri=found.uri, digest=found.digest) for found in status.inputs}
    for name in _input_names(run):
        if name in inputs:
            continue
        source = run.spec.model.run if name == MODEL else None
        found = (
            from_run(source.name, observed, wanted_by="spec.model.run")
            if source is not None
            else from_input(name, observed)
        )
        if not isinstance(found, Input):
            return found
        inputs[name] = found
    return inputs


def _input_names(run: AlignmentRun) -> tuple[str, ...]:
    found = [MODEL]
    for stage in run.spec.stages:
        found.append(dataset_input(stage.name))
        if stage.options.held_out is not None:
            found.append(held_out_input(stage.name))
    return tuple(found)


def _record(inputs: Inputs, run: AlignmentRun) -> tuple[ResolvedInput, ...]:
    return tuple(
        ResolvedInput(name=name, uri=inputs[name].uri, digest=inputs[name].digest) for name in _input_names(run)
    )


def _pause(rows: tuple[StageStatus, ...]) -> Paused:
    done = sum(row.state == StageState.SUCCEEDED for row in rows)
    fact = f"paused by spec.suspend with {done} of {len(rows)} stages done"
    return Paused(Reason.SUSPENDED, f"{fact}; set it to false to go on")


def _outcome(rows: tuple[StageStatus, ...]) -> Working | Stopped | Done:
    for row in rows:
        if row.state == StageState.FAILED:
            return Stopped(row.reason or Reason.INTERNAL_ERROR, f"stage {row.name} failed: {row.message}")
        if row.state != StageState.SUCCEEDED:
            told = _going_on(row) or ("is running" if row.state == StageState.RUNNING else "is about to start")
            return Working(row.reason or Reason.PENDING, f"stage {row.name} ({row.type}) {told}")
    return Done(Reason.SUCCEEDED, f"all {len(rows)} stages succeeded")


def _going_on(row: StageStatus) -> str:
    """What there is to say of a stage that has not ended; nothing where all goes well."""
    if not row.message:
        return ""
    return f"is running: {row.message}" if row.reason == Reason.NOT_REPORTING else f"waits: {row.message}"


def _conclude(
    run: AlignmentRun, status: AlignmentRunStatus, walk: Walk, observed: Observed, now: datetime, *, outcome: Outcome
) -> Decision:
    """Status, conditions and events from the rows."""
    over = isinstance(outcome, Done) or any(row.state == StageState.FAILED for row in walk.rows)
    conditions = write_conditions(
        outcome,
        _facts(outcome, status, over=over),
        previous=status.conditions,
        generation=observed.generation,
        now=now,
    )
    started = status.start_time or (now.replace(microsecond=0) if walk.missing else None)
    after = status.model_copy(
        update={
            "stages": walk.rows,
            "conditions": conditions,
            "phase": _phase(outcome, walk.rows, over=over),
            "start_time": started,
            "completion_time": now.replace(microsecond=0) if over else None,
            "output": walk.rows[-1].output if isinstance(outcome, Done) else None,
        }
    )
    expired, left = _expiry(run, observed, after.completion_time, now)
    return Decision(
        status=after,
        apply=walk.missing,
        delete=expired or walk.outdated,
        events=_events(status, after, outcome),
        wake_after=left if over else walk.wake_after,
    )


def _facts(outcome: Outcome, status: AlignmentRunStatus, *, over: bool) -> list[Fact]:
    return [
        _validated(outcome, status),
        _succeeded(outcome, over=over),
        Fact(ConditionType.SUSPENDED, _truth(holds=isinstance(outcome, Paused)), outcome.reason, outcome.message),
    ]


def _truth(*, holds: bool) -> ConditionStatus:
    return ConditionStatus.TRUE if holds else ConditionStatus.FALSE


def _validated(outcome: Outcome, status: AlignmentRunStatus) -> Fact:
    if status.inputs:
        return Fact(ConditionType.VALIDATED, ConditionStatus.TRUE, Reason.READY, "all inputs are resolved")
    state = ConditionStatus.FALSE if isinstance(outcome, Stopped) else ConditionStatus.UNKNOWN
    return Fact(ConditionType.VALIDATED, state, outcome.reason, outcome.message)


def _succeeded(outcome: Outcome, *, over: bool) -> Fact:
    state = _truth(holds=isinstance(outcome, Done)) if over else ConditionStatus.UNKNOWN
    return Fact(ConditionType.SUCCEEDED, state, outcome.reason, outcome.message)


def _phase(outcome: Outcome, rows: tuple[StageStatus, ...], *, over: bool) -> Phase:
    if isinstance(outcome, Done):
        return Phase.SUCCEEDED
    if isinstance(outcome, Stopped):
        return Phase.FAILED if over else Phase.STALLED
    if isinstance(outcome, Paused):
        return Phase.SUSPENDED
    started = any(row.state in (StageState.RUNNING, StageState.SUCCEEDED) for row in rows)
    return Phase.RUNNING if started else Phase.PENDING


def _events(before: AlignmentRunStatus, after: AlignmentRunStatus, outcome: Outcome) -> tuple[Event, ...]:
    """One event per stage that changed state or met an obstacle, one for the end or a pause."""
    earlier = {row.name: row for row in before.stages}
    found = [event for row in after.stages if (event := _stage_event(earlier.get(row.name), row)) is not None]
    if after.phase != before.phase and not isinstance(outcome, Working):
        severity = EventType.WARNING if isinstance(outcome, Stopped) else EventType.NORMAL
        found.append(Event(severity, outcome.reason, outcome.message))
    return tuple(found)


def _stage_event(before: StageStatus | None, row: StageStatus) -> Event | None:
    changed = before is None or before.state != row.state
    if row.state == StageState.FAILED:
        severity, words = EventType.WARNING, f": {row.message}"
    elif row.state == StageState.SUCCEEDED:
        severity = EventType.NORMAL
        words = " succeeded (recorded result of an identical stage)" if row.cached else " succeeded"
    elif row.message:
        changed = changed or (before is not None and before.reason != row.reason)
        severity = EventType.NORMAL if row.reason in _EXPECTED else EventType.WARNING
        words = f" {_going_on(row)}"
    elif row.state == StageState.RUNNING:
        severity, words = EventType.NORMAL, " started"
    else:
        # That a stage's turn has not come yet is no news, and every event is a call.
        return None
    return Event(severity, row.reason or Reason.PENDING, f"stage {row.name}{words}") if changed else None


_EXPECTED = (Reason.QUEUE_PENDING, Reason.SUSPENDED, Reason.PENDING, Reason.PREEMPTED)
"""Why a stage may wait without anything being wrong."""
