"""decide for an EvalGate: execute the suites against subject and baseline, then a verdict from their rows. Pure.

The verdict is bound to the digests of everything it depends on; anything else voids it and the gate evaluates again.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from plumbline_api import names
from plumbline_api.gate import Enforcement, EvalGate, EvalGateStatus, Evidence, RuleRow, Verdict
from plumbline_api.meta import ConditionStatus
from plumbline_api.model import digest_of
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_api.redteam import RedTeamSuite
from plumbline_api.runfile import Input
from plumbline_api.sources import SubjectSource
from plumbline_operator.decision import Child, Decision, Event, EventType
from plumbline_operator.gates.verdict import judge_rule, overall
from plumbline_operator.kinds.engines import lacking_image
from plumbline_operator.kinds.executions import Execution, plan_executions, running, tell_progress
from plumbline_operator.kinds.references import be_patient, from_input, from_run, outdated
from plumbline_operator.kinds.silence import next_silence
from plumbline_operator.kinds.waiting import next_look, soonest
from plumbline_operator.observed import ChildRef, JobPhase, Observed
from plumbline_operator.plan.engines import engine_content, software_of
from plumbline_operator.plan.inputs import BASELINE, SUBJECT
from plumbline_operator.plan.network import plan_job_policy
from plumbline_operator.status.conditions import Done, Fact, Outcome, Stopped, Working, write_conditions

__all__ = ["decide_gate"]


@dataclass(frozen=True)
class _Question:
    """What is judged: models by role, and suites."""

    models: dict[str, Input]
    suites: tuple[RedTeamSuite, ...]
    content: str
    """Digest of models, suites, rules and the engine's options."""
    software: str
    """Digest of the images that answer it."""

    @property
    def binding(self) -> str:
        return digest_of({"content": self.content, "software": self.software})


@dataclass(frozen=True)
class _Finding:
    """What a finished evaluation says."""

    verdict: Verdict
    reason: Reason
    message: str
    rows: tuple[RuleRow, ...] = ()
    evidence: tuple[Evidence, ...] = ()


def decide_gate(gate: EvalGate, observed: Observed, before: EvalGateStatus, now: datetime) -> Decision:
    """The Decision for one EvalGate."""
    status = _begin(observed, before)
    question = _ask(gate, observed)
    if isinstance(question, Working | Stopped):
        lack, look = be_patient(question, before.conditions, observed, now)
        return replace(_conclude(_void(status), observed, before, now, outcome=lack), wake_after=look)
    if status.binding == question.binding and status.verdict is not None:
        outcome = _outcome(status.verdict, _said(before), status)
        return _conclude(status, observed, before, now, outcome=outcome, stale=outdated(observed, ()))
    status = _bind(_void(status), question, status.standing)
    executions = plan_executions(gate, observed, question.suites, question.models, status, now)
    finding = _find(gate, observed, executions)
    if finding is None:
        return _evaluate(status, observed, before, executions, now)
    status = status.model_copy(
        update={
            "progress": None,
            "verdict": finding.verdict,
            "standing": question.content if finding.verdict == Verdict.PASSED else None,
            "rows": finding.rows,
            "evidence": finding.evidence,
            "advice": tuple(dict.fromkeys(row.advice for row in finding.rows if row.advice))[:16],
            "completion_time": now.replace(microsecond=0),
        }
    )
    outcome = _outcome(finding.verdict, (finding.reason, finding.message), status)
    return _conclude(status, observed, before, now, outcome=outcome, stale=outdated(observed, ()))


def _evaluate(
    status: EvalGateStatus,
    observed: Observed,
    before: EvalGateStatus,
    executions: tuple[Execution, ...],
    now: datetime,
) -> Decision:
    """See to it that every execution has its Job."""
    children = [child for item in executions for child in item.children]
    wanted = (*plan_job_policy(observed.key, observed.runtime), *children)
    missing = tuple(child for child in wanted if child.ref not in observed.children)
    decision = _conclude(
        status.model_copy(update={"progress": running(executions)}),
        observed,
        before,
        now,
        outcome=tell_progress(executions),
        missing=missing,
        stale=outdated(observed, {item.children[-1].ref.name for item in executions}),
    )
    waiting = [item.job for item in executions if item.job is not None and item.unfinished]
    look = next_look(waiting, observed.runtime.start_deadline, now)
    return replace(decision, wake_after=soonest(look, next_silence(waiting, now)))


def _begin(observed: Observed, before: EvalGateStatus) -> EvalGateStatus:
    """The status to go on from; a new retry nonce voids a verdict that did not pass."""
    nonce = observed.annotations.get(names.RETRY_ANNOTATION, "")[:256]
    status = before.model_copy(update={"observed_generation": observed.generation, "retry": nonce})
    if nonce == before.retry or before.verdict in (None, Verdict.PASSED):
        return status
    return _void(status).model_copy(update={"attempt": before.attempt + 1})


def _void(status: EvalGateStatus) -> EvalGateStatus:
    nothing = {"rows": (), "evidence": (), "advice": (), "subject": None, "baseline": None, "progress": None}
    unbound = {"binding": None, "software": None, "standing": None}
    return status.model_copy(update={"verdict": None, "completion_time": None, **unbound, **nothing})


def _bind(status: EvalGateStatus, question: _Question, standing: str | None) -> EvalGateStatus:
    """The status of an evaluation of this; what passed before stands until its end where nothing but images changed."""
    baseline = question.models.get(BASELINE)
    return status.model_copy(
        update={
            "binding": question.binding,
            "software": question.software,
            "standing": standing if standing == question.content else None,
            "subject": question.models[SUBJECT].digest,
            "baseline": None if baseline is None else baseline.digest,
        }
    )


def _ask(gate: EvalGate, observed: Observed) -> _Question | Working | Stopped:
    """Models and suites, or what is missing."""
    lack = lacking_image(gate.spec.engine, observed.runtime)
    if lack is not None:
        return lack
    suites = []
    for ref in gate.spec.suites:
        suite = observed.suites.get(ref.name)
        if suite is None:
            return Stopped(
                Reason.NOT_FOUND, f"spec.suites names RedTeamSuite {ref.name}, which does not exist; apply it first"
            )
        suites.append(suite)
    models = {}
    for role, source in ((SUBJECT, gate.spec.subject), (BASELINE, gate.spec.baseline)):
        if source is None:
            continue
        found = _model(role, source, observed)
        if not isinstance(found, Input):
            return found
        models[role] = found
    software = software_of(observed.runtime, gate.spec.engine)
    return _Question(models, tuple(suites), _content(gate, models, suites), software)


def _model(role: str, source: SubjectSource, observed: Observed) -> Input | Working | Stopped:
    if source.alignment_run is not None:
        return from_run(source.alignment_run.name, observed, wanted_by=f"spec.{role}.alignmentRun")
    return from_input(role, observed)


def _content(gate: EvalGate, models: dict[str, Input], suites: list[RedTeamSuite]) -> str:
    return digest_of(
        {
            "models": {role: model.digest for role, model in models.items()},
            "suites": {suite.metadata.name: suite.spec.dump() for suite in suites},
            "rules": [rule.dump() for rule in gate.spec.rules],
            **engine_content(gate.spec.engine),
        }
    )


def _find(gate: EvalGate, observed: Observed, executions: tuple[Execution, ...]) -> _Finding | None:
    """The finding once every execution has ended, or at once when one failed; None before."""
    for item in executions:
        if item.job is not None and item.job.phase == JobPhase.FAILED:
            problem = item.job.problem
            reason = Reason.INTERNAL_ERROR if problem is None else problem.reason
            words = "" if problem is None else f": {problem.message}"
            return _Finding(Verdict.ERROR, reason, f"suite {item.name} ({item.role}) failed{words}")
    summaries = {(item.name, item.role): item.summary for item in executions}
    if any(summary is None for summary in summaries.values()):
        return None
    rows = tuple(
        judge_rule(rule, name, subject, summaries.get((name, BASELINE)))
        for (name, role), subject in summaries.items()
        if role == SUBJECT and subject is not None
        for rule in gate.spec.rules
    )
    verdict, reason = overall(rows)
    evidence = tuple(item.evidence(observed) for item in executions)
    return _Finding(verdict, reason, _describe(verdict, rows), rows, evidence)


def _describe(verdict: Verdict, rows: tuple[RuleRow, ...]) -> str:
    required = [row for row in rows if row.enforcement == Enforcement.REQUIRED]
    if verdict == Verdict.PASSED:
        return f"all {len(required)} required rules hold"
    bad = [row for row in required if row.verdict == verdict]
    first = bad[0]
    seen = f"observed {first.observed}" if first.observed is not None else "not measured"
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    advice = f". {first.advice}" if first.advice else ""
    return f"{first.metric} {first.comparator} {first.threshold}: {seen} ({first.reason}){more}{advice}"


def _said(before: EvalGateStatus) -> tuple[Reason, str]:
    """Reason and message of the verdict that stands."""
    for condition in before.conditions:
        if condition.type == ConditionType.PASSED:
            return condition.reason, condition.message
    return Reason.THRESHOLDS_MET, ""


def _outcome(verdict: Verdict, said: tuple[Reason, str], status: EvalGateStatus) -> Outcome:
    reason, message = said
    if verdict == Verdict.PASSED and status.subject is not None:
        return Done(reason, message)
    return Stopped(reason, message)


def _conclude(
    status: EvalGateStatus,
    observed: Observed,
    before: EvalGateStatus,
    now: datetime,
    *,
    outcome: Outcome,
    missing: tuple[Child, ...] = (),
    stale: tuple[ChildRef, ...] = (),
) -> Decision:
    conditions = write_conditions(
        outcome,
        _facts(status, outcome),
        previous=before.conditions,
        generation=observed.generation,
        now=now,
    )
    after = status.model_copy(update={"conditions": conditions, "phase": _phase(status, outcome)})
    return Decision(status=after, apply=missing, delete=stale, events=_events(before, after, outcome))


def _facts(status: EvalGateStatus, outcome: Outcome) -> list[Fact]:
    completed = ConditionStatus.TRUE if status.verdict is not None else ConditionStatus.FALSE
    passed = {None: ConditionStatus.UNKNOWN, Verdict.PASSED: ConditionStatus.TRUE}.get(
        status.verdict, ConditionStatus.FALSE
    )
    return [
        Fact(ConditionType.COMPLETED, completed, outcome.reason, outcome.message),
        Fact(ConditionType.PASSED, passed, outcome.reason, outcome.message),
    ]


def _phase(status: EvalGateStatus, outcome: Outcome) -> Phase:
    if status.verdict is not None:
        return Phase.PASSED if status.verdict == Verdict.PASSED else Phase.NOT_PASSED
    if isinstance(outcome, Stopped):
        return Phase.STALLED
    return Phase.RUNNING if status.binding is not None else Phase.PENDING


def _events(before: EvalGateStatus, after: EvalGateStatus, outcome: Outcome) -> tuple[Event, ...]:
    if before.phase == after.phase and before.verdict == after.verdict:
        return ()
    if after.verdict is None:
        severity = EventType.WARNING if isinstance(outcome, Stopped) else EventType.NORMAL
        return (Event(severity, outcome.reason, outcome.message),)
    severity = EventType.NORMAL if after.verdict == Verdict.PASSED else EventType.WARNING
    return (Event(severity, outcome.reason, f"verdict {after.verdict}: {outcome.message}"),)
