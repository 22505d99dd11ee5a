"""Jobs at work that tell nothing: when that is worth saying, what to say, and when to look again. Pure.

Called by the deciders. Silence is told and never a failure: reports are lost for many reasons that do the work no harm.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from plumbline_api.model import format_time
from plumbline_api.names import CONTAINER_WORKER
from plumbline_api.reasons import Reason
from plumbline_operator.observed import JobPhase, JobState, Problem

__all__ = ["mark_silence", "next_silence"]

_PATIENCE: Final = 300.0
"""Seconds. Reports come every few seconds, or with each step of a training that is not ours; by this time a change of
leader, a lost node or a slow start is over, and a step that takes longer is rare enough to be told of."""


def mark_silence(job: JobState, now: datetime) -> JobState:
    """The Job, with its silence as the problem where it is at work, nothing worse is known, and it has lasted."""
    if job.problem is not None or _left(job, now) != 0.0 or job.silent_since is None:
        return job
    # The moment and not the seconds: a message that changed with every look would be written with every look.
    fact = f"Job {job.name} has reported no progress since {format_time(job.silent_since)}; it may work all the same"
    remedy = f"`kubectl logs job/{job.name} -c {CONTAINER_WORKER}` shows"
    return replace(job, problem=Problem(Reason.NOT_REPORTING, f"{fact}, which {remedy}"))


def next_silence(jobs: Iterable[JobState], now: datetime) -> float | None:
    """Seconds until one of these is worth a word; None where none will be by time alone."""
    left = [seconds for job in jobs if (seconds := _left(job, now))]
    return min(left, default=None)


def _left(job: JobState, now: datetime) -> float | None:
    """Seconds until the silence of a Job has lasted, 0 once it has; None where it may be silent."""
    if job.phase != JobPhase.RUNNING or job.deleting or job.silent_since is None:
        return None
    return max(0.0, _PATIENCE - (now - job.silent_since).total_seconds())
