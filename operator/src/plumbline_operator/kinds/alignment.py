"""decide for an AlignmentRun: resolve inputs, run the stages in order, tell how it goes.

What has been recorded stays: an input is resolved once, a stage that succeeded is never run again (even when its
Job is deleted), a finished run changes only when a new retry nonce asks for it.
"""

from dataclasses import dataclass
from datetime import datetime

from plumbline_api import names
from plumbline_api.alignment import (
    AlignmentRun,
    AlignmentRunStatus,
    ResolvedInput,
    Stage,
    StageState,
    StageStatus,
)
from plumbline_api.meta import ConditionStatus
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_api.runfile import Input
from plumbline_operator.decision import Child, Decision, Event, EventType
from plumbline_operator.kinds.references import from_input, from_run, outdated
from plumbline_operator.observed import ChildRef, JobPhase, JobState, Observed
from plumbline_operator.plan.inputs import MODEL, dataset_input, held_out_input
from plumbline_operator.plan.stages import plan_stage
from plumbline_operator.status.conditions import Done, Fact, Outcome, Stopped, Working, write_conditions

__all__ = ["decide_run"]

Inputs = dict[str, Input]


@dataclass(frozen=True)
class _Walk:
    """The stages after one look at their Jobs, and the children that are missing."""

    rows: tuple[StageStatus, ...]
    missing: tuple[Child, ...] = ()
    outdated: tuple[ChildRef, ...] = ()


def decide_run(run: AlignmentRun, observed: Observed, before: AlignmentRunStatus, now: datetime) -> Decision:
    """The Decision for one AlignmentRun."""
    status = _begin(run, observed, before)
    if _is_finished(status):
        return Decision(status=status)
    inputs = _resolve(run, observed, status)
    if isinstance(inputs, Working | Stopped):
        return _conclude(status, _Walk(status.stages), observed, now, outcome=inputs)
    status = status.model_copy(update={"inputs": _record(inputs, run)})
    walk = _walk(run, observed, status, inputs, now)
    return _conclude(status, walk, observed, now, outcome=_outcome(walk.rows))


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


def _walk(run: AlignmentRun, observed: Observed, status: AlignmentRunStatus, inputs: Inputs, now: datetime) -> _Walk:
    """Go through the stages until one is not done; that one gets its Job."""
    rows = list(status.stages)
    model = inputs[MODEL]
    jobs = {job.name: job for job in observed.jobs}
    for index, stage in enumerate(run.spec.stages):
        if rows[index].state != StageState.SUCCEEDED:
            children = plan_stage(
                observed.key, run, stage, _stage_inputs(stage, model, inputs), observed.runtime, status.attempt
            )
            job = children[-1].ref.name
            rows[index] = _look(rows[index], job, jobs.get(job), now)
            if rows[index].state != StageState.SUCCEEDED:
                return _Walk(tuple(rows), _missing(children, rows[index], observed), outdated(observed, {job}))
        output = rows[index].output
        if output is None:
            raise AssertionError("a succeeded stage has an output")
        model = Input(uri=observed.runtime.store, digest=output)
    return _Walk(tuple(rows))


def _stage_inputs(stage: Stage, model: Input, inputs: Inputs) -> Inputs:
    found = {"model": model, "dataset": inputs[dataset_input(stage.name)]}
    held_out = inputs.get(held_out_input(stage.name))
    return found if held_out is None else found | {"heldOut": held_out}


def _missing(children: tuple[Child, ...], row: StageStatus, observed: Observed) -> tuple[Child, ...]:
    if row.state == StageState.FAILED:
        return ()
    return tuple(child for child in children if child.ref not in observed.children)


def _look(row: StageStatus, name: str, job: JobState | None, now: datetime) -> StageStatus:
    """The row after looking at its Job."""
    if job is None or job.phase == JobPhase.PENDING:
        return row.model_copy(update={"job": name, "reason": Reason.PENDING, "progress": None})
    started = {"job": name, "start_time": row.start_time or now.replace(microsecond=0), "progress": job.progress}
    if job.phase == JobPhase.RUNNING:
        reason = Reason.PREEMPTED if job.preempted else Reason.RUNNING
        return row.model_copy(update=started | {"state": StageState.RUNNING, "reason": reason})
    ended = started | {"completion_time": now.replace(microsecond=0)}
    if job.phase == JobPhase.SUCCEEDED and job.summary is not None and job.summary.output is not None:
        result = {
            "state": StageState.SUCCEEDED,
            "reason": Reason.SUCCEEDED,
            "message": job.summary.message,
            "cached": job.summary.cached,
            "output": job.summary.output.digest,
            "report": None if job.summary.report is None else job.summary.report.digest,
        }
        return row.model_copy(update=ended | result)
    reason = Reason.REPORT_INVALID if job.problem is None else job.problem.reason
    message = "the Job ended well but named no output" if job.problem is None else job.problem.message
    return row.model_copy(update=ended | {"state": StageState.FAILED, "reason": reason, "message": message[:1024]})


def _outcome(rows: tuple[StageStatus, ...]) -> Outcome:
    for row in rows:
        if row.state == StageState.FAILED:
            return Stopped(row.reason or Reason.INTERNAL_ERROR, f"stage {row.name} failed: {row.message}")
        if row.state != StageState.SUCCEEDED:
            verb = "is running" if row.state == StageState.RUNNING else "is about to start"
            return Working(row.reason or Reason.PENDING, f"stage {row.name} ({row.type}) {verb}")
    return Done(Reason.SUCCEEDED, f"all {len(rows)} stages succeeded")


def _conclude(
    status: AlignmentRunStatus, walk: _Walk, observed: Observed, now: datetime, *, outcome: Outcome
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
    return Decision(status=after, apply=walk.missing, delete=walk.outdated, events=_events(status, after, outcome))


def _facts(outcome: Outcome, status: AlignmentRunStatus, *, over: bool) -> list[Fact]:
    if over:
        state = ConditionStatus.TRUE if isinstance(outcome, Done) else ConditionStatus.FALSE
        succeeded = Fact(ConditionType.SUCCEEDED, state, outcome.reason, outcome.message)
    else:
        succeeded = Fact(ConditionType.SUCCEEDED, ConditionStatus.UNKNOWN, outcome.reason, outcome.message)
    if status.inputs:
        return [
            Fact(ConditionType.VALIDATED, ConditionStatus.TRUE, Reason.READY, "all inputs are resolved"),
            succeeded,
        ]
    state = ConditionStatus.FALSE if isinstance(outcome, Stopped) else ConditionStatus.UNKNOWN
    return [Fact(ConditionType.VALIDATED, state, outcome.reason, outcome.message), succeeded]


def _phase(outcome: Outcome, rows: tuple[StageStatus, ...], *, over: bool) -> Phase:
    if isinstance(outcome, Done):
        return Phase.SUCCEEDED
    if isinstance(outcome, Stopped):
        return Phase.FAILED if over else Phase.STALLED
    started = any(row.state in (StageState.RUNNING, StageState.SUCCEEDED) for row in rows)
    return Phase.RUNNING if started else Phase.PENDING


def _events(before: AlignmentRunStatus, after: AlignmentRunStatus, outcome: Outcome) -> tuple[Event, ...]:
    """One event per stage that changed state, one for the end."""
    earlier = {row.name: row.state for row in before.stages}
    found = [_stage_event(row) for row in after.stages if earlier.get(row.name) != row.state]
    if after.phase != before.phase and not isinstance(outcome, Working):
        severity = EventType.NORMAL if isinstance(outcome, Done) else EventType.WARNING
        found.append(Event(severity, outcome.reason, outcome.message))
    return tuple(found)


def _stage_event(row: StageStatus) -> Event:
    if row.state == StageState.FAILED:
        return Event(EventType.WARNING, row.reason or Reason.INTERNAL_ERROR, f"stage {row.name}: {row.message}")
    words = {StageState.RUNNING: "started", StageState.SUCCEEDED: "succeeded", StageState.PENDING: "waits"}
    suffix = " (recorded result of an identical stage)" if row.cached else ""
    return Event(EventType.NORMAL, row.reason or Reason.PENDING, f"stage {row.name} {words[row.state]}{suffix}")
