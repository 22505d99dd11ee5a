"""What a JobSet is doing, told as a Job: from the set, its Job and their pods to what decide() sees. Pure.

Called by the view. The set's conditions end it; why it ended stands in its Job and the pods, as far as they are left. A
set that has been restarted has begun before, so nothing of its new pods is a late start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from plumbline_api.progress import Progress
from plumbline_api.reasons import Reason
from plumbline_operator.kube.workloads.obstacles import PATIENCE
from plumbline_operator.kube.workloads.podends import short
from plumbline_operator.kube.workloads.rawobjects import (
    Raw,
    condition,
    is_controlled_by,
    is_true,
    moment,
    name_of,
    part,
)
from plumbline_operator.kube.workloads.states import explain_suspension, job_state
from plumbline_operator.observed import JOB_SET, JobPhase, JobState, Problem

__all__ = ["job_set_state"]

_ATTEMPT: Final = "jobset.sigs.k8s.io/restart-attempt"
_SPENT: Final = "ReachedMaxRestarts"


def job_set_state(
    job_set: Mapping[str, Any],
    jobs: Sequence[Mapping[str, Any]],
    pods: Sequence[Mapping[str, Any]],
    progress: Progress | None,
    now: datetime,
    *,
    listening_since: datetime | None = None,
) -> JobState:
    """The state of a JobSet with one Job in it.

    Args:
        job_set: The JobSet.
        jobs: Jobs that may be its own; earlier ones are passed over.
        pods: Pods that may be those of its Job.
        progress: What it reported last.
        now: The moment of looking.
        listening_since: Since when somebody listens to what it reports; None where nobody does.
    """
    own = sorted((job for job in jobs if is_controlled_by(job, job_set)), key=_attempt)
    job = own[-1] if own else None
    ended = is_true(job_set, "Completed") or is_true(job_set, "Failed")
    if not ended and part(job_set, "spec").get("suspend"):
        return replace(_bare(job_set), problem=explain_suspension(job_set, JOB_SET))
    if job is None:
        return _without_job(job_set, now, ended=ended)
    restarts = int(part(job_set, "status").get("restartsCountTowardsMax") or 0)
    found = job_state(job, pods, progress, now, restarts=restarts, listening_since=listening_since)
    state = replace(found, name=name_of(job_set), kind=JOB_SET, labels=_labels(job_set), deleting=_is_going(job_set))
    if ended:
        return _ended(state, job_set)
    if found.phase in (JobPhase.SUCCEEDED, JobPhase.FAILED):
        # What follows from the end of its Job the set has not said yet.
        return replace(state, phase=JobPhase.RUNNING, summary=None, problem=None)
    return _begun(state) if _restarts(job_set) else state


def _bare(job_set: Raw) -> JobState:
    return JobState(name_of(job_set), _labels(job_set), JobPhase.PENDING, JOB_SET, deleting=_is_going(job_set))


def _begun(state: JobState) -> JobState:
    return replace(state, phase=JobPhase.RUNNING, waiting_since=None)


def _without_job(job_set: Raw, now: datetime, *, ended: bool) -> JobState:
    state = _bare(job_set)
    if is_true(job_set, "Completed"):
        fact = f"JobSet {state.name} succeeded, but its pods are gone, and the summary with them"
        problem = Problem(Reason.REPORT_INVALID, f"{fact}; retry; what it published is taken from the store")
        return replace(state, phase=JobPhase.FAILED, problem=problem)
    if ended:
        return replace(state, phase=JobPhase.FAILED, problem=_explain_by_condition(job_set))
    if _restarts(job_set):
        return _begun(state)
    resumed = moment((condition(job_set, "Suspended") or {}).get("lastTransitionTime"))
    since = resumed or moment(part(job_set, "metadata").get("creationTimestamp"))
    if since is None or now - since < PATIENCE:
        return replace(state, waiting_since=since)
    fact = f"no Job is created for JobSet {state.name}; see whether the JobSet controller runs"
    problem = Problem(Reason.PODS_NOT_CREATED, f"{fact}; `kubectl describe jobset {state.name}` shows why")
    return replace(state, waiting_since=since, problem=problem)


def _ended(state: JobState, job_set: Raw) -> JobState:
    """The end as the set tells it, with what its Job says of the cause."""
    if is_true(job_set, "Completed"):
        return state if state.phase == JobPhase.SUCCEEDED or state.problem else _without_summary(state)
    known = state.phase == JobPhase.FAILED and state.problem is not None
    problem = state.problem if known else _explain_by_condition(job_set)
    return replace(state, phase=JobPhase.FAILED, problem=problem)


def _without_summary(state: JobState) -> JobState:
    fact = f"JobSet {state.name} succeeded, but its Job does not say so"
    return replace(state, phase=JobPhase.FAILED, problem=Problem(Reason.REPORT_INVALID, f"{fact}; retry"))


def _explain_by_condition(job_set: Raw) -> Problem:
    failed = condition(job_set, "Failed") or {}
    reason = Reason.BACKOFF_EXCEEDED if failed.get("reason") == _SPENT else Reason.INTERNAL_ERROR
    text = f"{failed.get('reason')}: {short(str(failed.get('message', '')))}"
    return Problem(reason, f"JobSet {name_of(job_set)} failed ({text}); its pods and their logs are gone")


def _labels(job_set: Raw) -> dict[str, str]:
    return dict(part(job_set, "metadata", "labels"))


def _restarts(job_set: Raw) -> int:
    return int(part(job_set, "status").get("restarts") or 0)


def _is_going(raw: Raw) -> bool:
    return "deletionTimestamp" in part(raw, "metadata")


def _attempt(job: Raw) -> int:
    return int(part(job, "metadata", "labels").get(_ATTEMPT, 0))
