"""What other objects an object waits for: the model that a run, a gate or a file provides. Pure."""

from collections.abc import Collection, Sequence
from datetime import datetime

from plumbline_api.alignment import StageState
from plumbline_api.meta import Condition, ConditionStatus
from plumbline_api.reasons import ConditionType, Reason
from plumbline_api.runfile import Input
from plumbline_operator.observed import ChildRef, InputState, JobPhase, Observed
from plumbline_operator.status.conditions import Stopped, Working, find_condition

__all__ = ["be_patient", "from_input", "from_run", "outdated"]


def from_run(name: str, observed: Observed, *, wanted_by: str) -> Input | Working | Stopped:
    """The model that the AlignmentRun of this name made, or why it is not there."""
    state = observed.runs.get(name)
    if state is None:
        return Stopped(
            Reason.NOT_FOUND,
            f"{wanted_by} names AlignmentRun {name}, which does not exist; apply it, or correct the name",
        )
    succeeded = find_condition(state.status.conditions, ConditionType.SUCCEEDED)
    if succeeded is not None and succeeded.status == ConditionStatus.FALSE:
        return Stopped(
            Reason.DEPENDENCY_FAILED,
            f"AlignmentRun {name} failed; see `plumbline describe alr {name}`, then retry it",
        )
    # A run is immutable: what it has made stays what it is, also while its pause or its time to live is being changed.
    if state.status.output is None:
        done = sum(stage.state == StageState.SUCCEEDED for stage in state.status.stages)
        total = len(state.run.spec.stages)
        return Working(Reason.WAITING_FOR_RUN, f"waiting for AlignmentRun {name} ({done} of {total} stages done)")
    return Input(uri=observed.runtime.store, digest=state.status.output)


def from_input(name: str, observed: Observed) -> Input | Working | Stopped:
    """The content that a file source resolved to, or why it did not."""
    found = observed.inputs.get(name, InputState())
    if found.resolved is not None:
        return found.resolved
    if found.problem is not None:
        return Stopped(found.problem.reason, found.problem.message)
    return Working(Reason.PENDING, f"input {name} has not been looked up yet")


def be_patient(
    outcome: Working | Stopped, before: Sequence[Condition], observed: Observed, now: datetime
) -> tuple[Working | Stopped, float | None]:
    """What to say of something that is lacking, and the seconds after which to say more.

    What is applied together comes in any order, and who waits for health takes Stalled for the end. So for a moment,
    what does not exist is awaited.
    """
    patience = observed.runtime.patience
    stalled = find_condition(before, ConditionType.STALLED)
    told = stalled is not None and stalled.reason == Reason.NOT_FOUND
    if not isinstance(outcome, Stopped) or outcome.reason != Reason.NOT_FOUND or told:
        return outcome, None
    waiting = find_condition(before, ConditionType.RECONCILING)
    left = patience - (0.0 if waiting is None else (now - waiting.last_transition_time).total_seconds())
    return (Working(outcome.reason, outcome.message), left) if left > 0 else (outcome, None)


def outdated(observed: Observed, planned: Collection[str]) -> tuple[ChildRef, ...]:
    """Jobs that have not ended and that nobody plans (any more), for example since a suite changed; to be deleted."""
    unfinished = (JobPhase.PENDING, JobPhase.RUNNING)
    return tuple(
        ChildRef(job.kind, job.name)
        for job in observed.jobs
        if job.phase in unfinished and job.name not in planned and not job.deleting
    )
