"""decide for a RedTeamSuite: it is executed by gates; its status lists the executions. Pure."""

from datetime import datetime

from plumbline_api import names
from plumbline_api.meta import ConditionStatus
from plumbline_api.metrics import MetricRow
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_api.redteam import Execution, RedTeamSuite, RedTeamSuiteStatus
from plumbline_operator.decision import Decision, Event, EventType
from plumbline_operator.observed import JobPhase, JobState, Observed
from plumbline_operator.status.conditions import Done, Fact, write_conditions

__all__ = ["decide_suite"]

_KEPT = 20


def decide_suite(suite: RedTeamSuite, observed: Observed, before: RedTeamSuiteStatus, now: datetime) -> Decision:
    """The Decision for one RedTeamSuite; `observed.jobs` are the Jobs that execute it."""
    known = {execution.job for execution in before.executions}
    fresh = [_execution(job, now) for job in observed.jobs if job.name not in known]
    new = tuple(sorted((made for made in fresh if made is not None), key=lambda made: made.job))
    executions = (*new, *before.executions)[:_KEPT]
    outcome = Done(Reason.READY, f"{len(suite.spec.attacks)} attacks over {len(suite.spec.categories)} categories")
    conditions = write_conditions(
        outcome,
        [
            Fact(ConditionType.VALIDATED, ConditionStatus.TRUE, Reason.READY, outcome.message),
            _executed(executions),
        ],
        previous=before.conditions,
        generation=observed.generation,
        now=now,
    )
    status = before.model_copy(
        update={
            "observed_generation": observed.generation,
            "phase": Phase.READY,
            "conditions": conditions,
            "executions": executions,
        }
    )
    events = tuple(
        Event(EventType.NORMAL, Reason.SUCCEEDED, f"executed for gate {made.gate} against {made.subject[:19]}")
        for made in new
    )
    return Decision(status=status, events=events)


def _executed(executions: tuple[Execution, ...]) -> Fact:
    if executions:
        return Fact(ConditionType.EXECUTED, ConditionStatus.TRUE, Reason.SUCCEEDED, "has been executed")
    return Fact(ConditionType.EXECUTED, ConditionStatus.FALSE, Reason.PENDING, "no gate has executed it yet")


def _execution(job: JobState, now: datetime) -> Execution | None:
    summary = job.summary
    if job.phase != JobPhase.SUCCEEDED or summary is None or summary.report is None or summary.subject is None:
        return None
    return Execution(
        job=job.name,
        gate=job.labels[names.LABEL_OWNER],
        subject=summary.subject,
        report=summary.report.digest,
        completion_time=now.replace(microsecond=0),
        rows=_main(summary.rows),
    )


def _main(rows: tuple[MetricRow, ...]) -> tuple[MetricRow, ...]:
    return tuple(row for row in rows if set(row.labels) <= {"split"})[:16]
