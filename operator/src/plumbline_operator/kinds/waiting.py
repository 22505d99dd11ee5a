"""How long a start may take: when what does not begin is given up, and when to look again. Pure.

Called by the deciders. Two clocks are at work: that of the API server, in what is observed, and that of whoever
decides. A start counts as late only where both say so, or a clock that is ahead would fail every start.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from plumbline_api.reasons import Reason
from plumbline_operator.observed import DeploymentState, JobPhase, JobState, Problem

__all__ = ["give_up", "is_given_up", "next_look", "soonest"]

_LOOK_AGAIN: Final = 60.0
"""Some causes of a late start are known only after a while, without an event that tells of them."""


def give_up(job: JobState, deadline: int | None, now: datetime, asked: datetime | None) -> JobState:
    """The Job as one that has failed, where it waits in vain; otherwise as it is.

    Args:
        job: The Job.
        deadline: Seconds that its first pod may need to begin; None waits for ever.
        now: The moment of deciding.
        asked: When it was asked for at the earliest, by the clock of `now`.
    """
    if job.phase not in (JobPhase.PENDING, JobPhase.RUNNING) or job.deleting:
        return job
    if job.hopeless and job.problem is not None:
        return replace(job, phase=JobPhase.FAILED)
    if not _is_late(job.waiting_since, deadline, now) or (asked and not _is_late(asked, deadline, now)):
        return job
    unknown = Problem(Reason.NOT_STARTED, f"no pod of Job {job.name} began its work; `kubectl describe pods` shows why")
    problem = job.problem or unknown
    message = f"{problem.message} (given up after {deadline} s without a start)"
    return replace(job, phase=JobPhase.FAILED, problem=Problem(problem.reason, message))


def is_given_up(served: DeploymentState, deadline: int | None, now: datetime) -> bool:
    """Whether the problem of a Deployment is one for a person. It stays, because it may still come up."""
    return served.problem is not None and (served.hopeless or _is_late(served.waiting_since, deadline, now))


def next_look(waiting: Iterable[JobState | DeploymentState], deadline: int | None, now: datetime) -> float | None:
    """Seconds until time alone may change what is decided of these; None where it will not."""
    since = [state.waiting_since for state in waiting if state.waiting_since is not None]
    if not since:
        return None
    left = [] if deadline is None else [deadline - (now - moment).total_seconds() for moment in since]
    return min([_LOOK_AGAIN, *(seconds for seconds in left if seconds > 0)])


def soonest(*seconds: float | None) -> float | None:
    """The least of some waits; None where there is none."""
    return min((wait for wait in seconds if wait is not None), default=None)


def _is_late(since: datetime | None, deadline: int | None, now: datetime) -> bool:
    return since is not None and deadline is not None and (now - since).total_seconds() >= deadline
