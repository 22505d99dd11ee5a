"""The stages of a run, one after the other: what their Jobs say, which Job is missing, which must go. Pure.

Called by decide_run. A stage that succeeded is passed over for good; the first that has not is the one at work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from plumbline_api.alignment import AlignmentRun, AlignmentRunStatus, Stage, StageState, StageStatus
from plumbline_api.reasons import ConditionType, Reason
from plumbline_api.runfile import Input
from plumbline_operator.decision import Child
from plumbline_operator.kinds.references import outdated
from plumbline_operator.kinds.silence import mark_silence, next_silence
from plumbline_operator.kinds.waiting import give_up, next_look, soonest
from plumbline_operator.observed import JOB, JOB_SET, ChildRef, JobPhase, JobState, Observed
from plumbline_operator.plan.gangs import plan_gang
from plumbline_operator.plan.inputs import MODEL, dataset_input, held_out_input
from plumbline_operator.plan.network import plan_job_policy, reaches_dns
from plumbline_operator.plan.stages import plan_stage
from plumbline_operator.status.conditions import find_condition

__all__ = ["Walk", "halt", "walk_stages"]


@dataclass(frozen=True)
class Walk:
    """The stages after one look at their Jobs, the children that are missing, and those that must go."""

    rows: tuple[StageStatus, ...]
    missing: tuple[Child, ...] = ()
    outdated: tuple[ChildRef, ...] = ()
    wake_after: float | None = None


def walk_stages(
    run: AlignmentRun, observed: Observed, status: AlignmentRunStatus, inputs: Mapping[str, Input], now: datetime
) -> Walk:
    """Go through the stages until one is not done; that one gets its Job."""
    rows = list(status.stages)
    model = inputs[MODEL]
    jobs = {job.name: job for job in observed.jobs}
    for index, stage in enumerate(run.spec.stages):
        row = rows[index]
        if row.state != StageState.SUCCEEDED:
            children = _children(run, observed, stage, row, _stage_inputs(stage, model, inputs), status.attempt)
            name = next((child.ref.name for child in children if child.ref.kind in (JOB, JOB_SET)), row.job or "")
            job = _give_up(row, jobs.get(name), observed, now, _asked(status, rows[:index]))
            row = rows[index] = _look(row, name, job, now)
        if row.state != StageState.SUCCEEDED:
            return _stay(run, rows, row, children, jobs.get(name), observed, now)
        if row.output is None:
            raise AssertionError("a succeeded stage has an output")
        model = Input(uri=observed.runtime.store, digest=row.output)
    return Walk(tuple(rows))


def _children(
    run: AlignmentRun, observed: Observed, stage: Stage, row: StageStatus, inputs: Mapping[str, Input], attempt: int
) -> tuple[Child, ...]:
    """What the stage needs: its ConfigMap, its Job and what comes with it; of that, what is not the Job that it has.

    The Job that its row names is the stage's Job whatever would be planned today: between two looks nothing of a stage
    can change but the settings, above all the images, and a newer operator must not end hours of work that an older one
    has begun. Whether it is a JobSet stays as it was, too.
    """
    name = row.job or ""
    kind = next((kind for kind in (JOB, JOB_SET) if ChildRef(kind, name) in observed.children), None)
    if kind is None:
        return plan_stage(observed.key, run, stage, dict(inputs), observed.runtime, attempt)
    runtime = replace(observed.runtime, job_sets=kind == JOB_SET)
    several = run.spec.compute.nodes > 1
    beside = plan_gang(observed.key, name, runtime, job_set=runtime.job_sets) if several else ()
    if ChildRef("ConfigMap", name) in observed.children:
        return beside
    planned = plan_stage(observed.key, run, stage, dict(inputs), runtime, attempt)
    return planned if planned[-1].ref.name == name else beside


def _give_up(
    row: StageStatus, job: JobState | None, observed: Observed, now: datetime, asked: datetime | None
) -> JobState | None:
    """The Job, as failed where it waits in vain; one that has run before may wait for room as long as it takes."""
    if job is None:
        return None
    deadline = None if row.state == StageState.RUNNING else observed.runtime.start_deadline
    return mark_silence(give_up(job, deadline, now, asked), now)


def _asked(status: AlignmentRunStatus, before: Sequence[StageStatus]) -> datetime | None:
    """When the Job of a stage can have been asked for, by our own clock: after all that is known to lie before it."""
    reconciling = find_condition(status.conditions, ConditionType.RECONCILING)
    known = [status.start_time, *(row.completion_time for row in before)]
    known.append(None if reconciling is None else reconciling.last_transition_time)
    return max((moment for moment in known if moment is not None), default=None)


def _stage_inputs(stage: Stage, model: Input, inputs: Mapping[str, Input]) -> dict[str, Input]:
    found = {"model": model, "dataset": inputs[dataset_input(stage.name)]}
    held_out = inputs.get(held_out_input(stage.name))
    return found if held_out is None else found | {"heldOut": held_out}


def _stay(
    run: AlignmentRun,
    rows: list[StageStatus],
    row: StageStatus,
    children: Sequence[Child],
    job: JobState | None,
    observed: Observed,
    now: datetime,
) -> Walk:
    """What the stage that is not done needs: its children, or, where it failed, that none of them runs on."""
    if row.state == StageState.FAILED:
        return Walk(tuple(rows), outdated=outdated(observed, ()))
    if job is None and _cannot_meet(run, observed):
        rows[rows.index(row)] = row.model_copy(update={"reason": Reason.BAD_CONFIGURATION, "message": _NO_DNS})
        return Walk(tuple(rows), outdated=outdated(observed, ()))
    wanted = (*plan_job_policy(observed.key, observed.runtime), *children)
    missing = tuple(child for child in wanted if child.ref not in observed.children)
    jobs = [] if job is None else [job]
    look = soonest(next_look(jobs, observed.runtime.start_deadline, now), next_silence(jobs, now))
    return Walk(tuple(rows), missing, outdated(observed, {row.job or ""}), look)


def _cannot_meet(run: AlignmentRun, observed: Observed) -> bool:
    """Whether pods of several nodes would never find each other."""
    return run.spec.compute.nodes > 1 and not reaches_dns(observed.runtime)


_NO_DNS: Final = (
    "pods of several nodes find each other by DNS, but the operator's settings let none reach a name server; "
    "add UDP port 53 to workloads.egress of the Helm chart, or set spec.compute.nodes to 1"
)


def halt(walk: Walk, observed: Observed) -> Walk:
    """The walk without what would run."""
    paused = {"state": StageState.PENDING, "reason": Reason.SUSPENDED, "message": "", "progress": None}
    open_states = (StageState.PENDING, StageState.RUNNING)
    current = next(row.name for row in walk.rows if row.state in open_states)
    rows = tuple(row.model_copy(update=paused) if row.name == current else row for row in walk.rows)
    return Walk(rows, outdated=outdated(observed, ()))


def _look(row: StageStatus, name: str, job: JobState | None, now: datetime) -> StageStatus:
    """The row after looking at its Job."""
    if job is None or (job.deleting and job.phase in (JobPhase.PENDING, JobPhase.RUNNING)):
        message = "" if job is None else f"Job {name} was deleted; it is made again when it is gone"
        lost = {"state": StageState.PENDING, "reason": Reason.PENDING, "message": message, "progress": None}
        return row.model_copy(update={"job": name} | lost)
    if job.phase == JobPhase.PENDING:
        return row.model_copy(update={"job": name, "progress": None} | _said(job, Reason.PENDING))
    # What an operator that was started anew has not been told yet stands in the row.
    progress = job.progress or (row.progress if row.job == name else None)
    started = {"job": name, "start_time": row.start_time or now.replace(microsecond=0), "progress": progress}
    if job.phase == JobPhase.RUNNING:
        usual = Reason.PREEMPTED if job.preempted else Reason.RUNNING
        return row.model_copy(update=started | {"state": StageState.RUNNING} | _said(job, usual))
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


def _said(job: JobState, usual: Reason) -> dict[str, Reason | str]:
    """Reason and message of a Job that has not ended."""
    if job.problem is None:
        return {"reason": usual, "message": ""}
    return {"reason": job.problem.reason, "message": job.problem.message[:1024]}
