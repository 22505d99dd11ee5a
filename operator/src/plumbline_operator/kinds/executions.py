"""The executions of a gate: each suite against each model, its Job, what it measured, how far all of them are. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from plumbline_api.gate import EvalGate, EvalGateStatus, Evidence
from plumbline_api.names import Image
from plumbline_api.progress import Progress
from plumbline_api.reasons import ConditionType, Reason
from plumbline_api.redteam import RedTeamSuite
from plumbline_api.report import Result, Summary
from plumbline_api.runfile import Input
from plumbline_operator.decision import Child
from plumbline_operator.kinds.silence import mark_silence
from plumbline_operator.kinds.waiting import give_up
from plumbline_operator.observed import JobPhase, JobState, Observed
from plumbline_operator.plan.evaluation import plan_evaluation
from plumbline_operator.status.conditions import Working, find_condition

__all__ = ["Execution", "plan_executions", "running", "tell_progress"]

_NOTHING: Final = Summary(result=Result.FAILED)
"""Stands for a report about another model, or none: every rule over it is an Error."""


@dataclass(frozen=True)
class Execution:
    """One suite against one model: its children, its Job as observed (as failed, where it waits in vain)."""

    suite: RedTeamSuite
    role: str
    model: Input
    children: tuple[Child, ...]
    job: JobState | None

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.suite.metadata.name

    @property
    def unfinished(self) -> bool:
        """Whether there is a Job, and it has not ended."""
        return self.job is not None and self.job.phase in (JobPhase.PENDING, JobPhase.RUNNING)

    @property
    def summary(self) -> Summary | None:
        """What it measured, once it has ended well; nothing at all where that is about another model."""
        if self.job is None or self.job.phase != JobPhase.SUCCEEDED:
            return None
        if self.job.summary is None or self.job.summary.subject != self.model.digest:
            return _NOTHING
        return self.job.summary

    def evidence(self, observed: Observed) -> Evidence:
        """What the verdict rests on, as the status keeps it."""
        summary = self.summary or _NOTHING
        return Evidence(
            suite=self.name,
            role=self.role,
            model=self.model.digest,
            report=None if summary.report is None else summary.report.digest,
            cases=summary.cases,
            evaluator=observed.runtime.images[Image.EVALUATOR],
            judge=summary.judges,
        )


def plan_executions(
    gate: EvalGate,
    observed: Observed,
    suites: Iterable[RedTeamSuite],
    models: Mapping[str, Input],
    status: EvalGateStatus,
    now: datetime,
) -> tuple[Execution, ...]:
    """Every suite against every model (by role)."""
    reconciling = find_condition(status.conditions, ConditionType.RECONCILING)
    asked = None if reconciling is None else reconciling.last_transition_time
    deadline = observed.runtime.start_deadline
    jobs = {job.name: mark_silence(give_up(job, deadline, now, asked), now) for job in observed.jobs}
    made = []
    for suite in suites:
        for role, model in models.items():
            children = plan_evaluation(observed.key, gate, suite, model, observed.runtime, status.attempt)
            made.append(Execution(suite, role, model, children, jobs.get(children[-1].ref.name)))
    return tuple(made)


def tell_progress(executions: Sequence[Execution]) -> Working:
    """How many are done, and what keeps the first that does not go on."""
    done = sum(item.job is not None and item.job.phase == JobPhase.SUCCEEDED for item in executions)
    fact = f"{done} of {len(executions)} executions done"
    for item in executions:
        if item.unfinished and item.job is not None and item.job.problem is not None:
            problem = item.job.problem
            return Working(problem.reason, f"{fact}; suite {item.name} ({item.role}): {problem.message}")
    return Working(Reason.EVALUATING, fact)


def running(executions: Sequence[Execution]) -> Progress | None:
    """The progress of the first that is at work."""
    for item in executions:
        if item.job is not None and item.job.phase == JobPhase.RUNNING:
            return item.job.progress
    return None
