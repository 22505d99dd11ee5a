"""decide for a GuardedInference: serve what passed the gate, and nothing else. Pure.

Fail closed: while the gate has no verdict Passed for its subject, no Deployment may exist. One thing is no reason to
take away what serves: that software was updated. What passed with the images before goes on, with those, until the
gate has spoken about the new ones and pods with them serve.
"""

from dataclasses import replace
from datetime import datetime

from plumbline_api import names
from plumbline_api.gate import Verdict
from plumbline_api.guarded import GuardedInference, GuardedInferenceStatus, Served
from plumbline_api.manifests import parse_rules
from plumbline_api.meta import ConditionStatus
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_api.rules import GuardRules
from plumbline_api.runfile import Input
from plumbline_operator.decision import Child, Decision, Event, EventType
from plumbline_operator.kinds.engines import lacking_image, other_engine
from plumbline_operator.kinds.references import be_patient
from plumbline_operator.kinds.waiting import is_given_up, next_look
from plumbline_operator.observed import ChildRef, DeploymentState, Observed
from plumbline_operator.plan.engines import software_of
from plumbline_operator.plan.serving import plan_front, plan_serving
from plumbline_operator.status.conditions import Done, Fact, Outcome, Stopped, Working, find_condition, write_conditions

__all__ = ["decide_inference"]


def decide_inference(
    wanted: GuardedInference, observed: Observed, before: GuardedInferenceStatus, now: datetime
) -> Decision:
    """The Decision for one GuardedInference."""
    front = plan_front(observed.key, wanted, observed.runtime)
    subject = _subject(wanted, observed)
    rules = _rules(wanted, observed)
    if isinstance(subject, Working | Stopped):
        lack, look = be_patient(subject, before.conditions, observed, now)
        kept = _while_judged_again(wanted, observed, before)
        return replace(_conclude(observed, before, now, front, outcome=lack, kept=kept), wake_after=look)
    if isinstance(rules, Stopped):
        lack, look = be_patient(rules, before.conditions, observed, now)
        return replace(_conclude(observed, before, now, front, outcome=lack, passed=True), wake_after=look)
    children = plan_serving(observed.key, wanted, subject, rules, observed.runtime)
    deployment = _find(observed, children[-1].ref.name)
    served = Served(
        digest=subject.digest,
        deployment=children[-1].ref.name,
        endpoint=None if deployment is None else deployment.endpoint,
    )
    kept = _until_complete(served, deployment, observed, before)
    outcome = _outcome(served, deployment, observed.runtime.start_deadline, now)
    if kept is not None and deployment is not None and isinstance(outcome, Done):
        counted = f"{deployment.ready} of {deployment.replicas} pods"
        outcome = Working(Reason.ROLLOUT_PROGRESSING, f"{counted} serve; those before them go when all do")
    decision = _conclude(
        observed,
        before,
        now,
        front,
        outcome=outcome,
        passed=True,
        children=children,
        deployment=deployment,
        served=served,
        kept=kept,
    )
    if deployment is None or isinstance(outcome, Done):
        return decision
    return replace(decision, wake_after=next_look([deployment], observed.runtime.start_deadline, now))


def _subject(wanted: GuardedInference, observed: Observed) -> Input | Working | Stopped:
    """The model that passed the gate; only a current verdict counts."""
    name = wanted.spec.gate.name
    state = observed.gates.get(name)
    if state is None:
        return Stopped(Reason.NOT_FOUND, f"spec.gate names EvalGate {name}, which does not exist; apply it first")
    engine, judged = wanted.spec.engine, state.gate.spec.engine
    unusable = other_engine(engine, state.gate) or lacking_image(engine, observed.runtime)
    if unusable is not None:
        return unusable
    outdated = state.status.verdict is not None and state.status.software != software_of(observed.runtime, judged)
    if (
        outdated
        or state.status.observed_generation < state.generation
        or find_condition(state.status.conditions, ConditionType.RECONCILING) is not None
    ):
        return Working(Reason.WAITING_FOR_GATE, f"waiting for the verdict of EvalGate {name}")
    if state.status.verdict != Verdict.PASSED or state.status.subject is None:
        verdict = state.status.verdict or "none"
        return Stopped(
            Reason.NO_PASSED_SUBJECT,
            f"EvalGate {name} has verdict {verdict}, so nothing is served; see `plumbline describe egt {name}`",
        )
    return Input(uri=observed.runtime.store, digest=state.status.subject)


def _while_judged_again(wanted: GuardedInference, observed: Observed, before: GuardedInferenceStatus) -> Served | None:
    """What serves and goes on, because its gate is asked the same again with other images only."""
    state, stable = observed.gates.get(wanted.spec.gate.name), _last(observed, before)
    # Whatever serves was made for the engine before, where this is not the one that the gate judges with.
    if state is None or stable is None or other_engine(wanted.spec.engine, state.gate) is not None:
        return None
    current = state.status.observed_generation == state.generation and state.status.standing is not None
    return stable if current and state.status.subject == stable.digest else None


def _until_complete(
    served: Served, deployment: DeploymentState | None, observed: Observed, before: GuardedInferenceStatus
) -> Served | None:
    """The revision before, which serves the same model, as long as the new one does not serve in full."""
    stable = _last(observed, before)
    if stable is None or stable.digest != served.digest:
        return None
    over = stable.deployment == served.deployment or (deployment is not None and deployment.complete)
    return None if over else stable


def _last(observed: Observed, before: GuardedInferenceStatus) -> Served | None:
    """What served last and is there still, where it may stand beside another."""
    stable = before.stable
    if not observed.runtime.beside or stable is None:
        return None
    return stable if ChildRef("Deployment", stable.deployment) in observed.children else None


def _rules(wanted: GuardedInference, observed: Observed) -> GuardRules | Stopped:
    source = wanted.spec.guard.rules
    if source is None:
        return GuardRules()
    name = source.config_map.name
    found = observed.config_maps.get(name)
    if found is None or names.RULES_KEY not in found.data:
        lack = "does not exist" if found is None else f"has no key {names.RULES_KEY}"
        return Stopped(Reason.NOT_FOUND, f"spec.guard.rules names ConfigMap {name}, which {lack}")
    rules = parse_rules(found.data[names.RULES_KEY], f"ConfigMap {name}, {names.RULES_KEY}")
    return rules if isinstance(rules, GuardRules) else Stopped(Reason.BAD_SPEC, str(rules[0]))


def _outcome(
    served: Served, deployment: DeploymentState | None, deadline: int | None, now: datetime
) -> Working | Stopped | Done:
    if deployment is None:
        return Working(Reason.ROLLOUT_PROGRESSING, "engine and guard are about to start")
    if deployment.problem is not None:
        tell = Stopped if is_given_up(deployment, deadline, now) else Working
        return tell(deployment.problem.reason, deployment.problem.message)
    if not deployment.engine_ready:
        return Working(Reason.ROLLOUT_PROGRESSING, "the engine is loading the model")
    if not deployment.guard_ready:
        return Working(Reason.ROLLOUT_PROGRESSING, "the guard is not ready yet")
    where = f" at {served.endpoint}" if served.endpoint else ""
    return Done(Reason.SERVING, f"serving {served.digest[:19]}{where}")


def _conclude(
    observed: Observed,
    before: GuardedInferenceStatus,
    now: datetime,
    front: tuple[Child, ...],
    *,
    outcome: Outcome,
    passed: bool = False,
    children: tuple[Child, ...] = (),
    deployment: DeploymentState | None = None,
    served: Served | None = None,
    kept: Served | None = None,
) -> Decision:
    """Apply what is missing, delete what is not to be there; what stands in front stays once it is there."""
    wanted = (*front, *children) if children else ()
    keep = {child.ref for child in (*front, *children)}
    if kept is not None:
        keep |= {ChildRef(kind, kept.deployment) for kind in ("ConfigMap", "Deployment")}
    last = kept or _last(observed, before)
    # A pod that is not ready for a moment is no reason to forget what the next upgrade has to keep.
    stable = last if last is not None and ChildRef("Deployment", last.deployment) in keep else None
    answering = deployment if kept is None else _find(observed, kept.deployment)
    facts = [
        _fact(ConditionType.GATE_SATISFIED, outcome, holds=passed),
        _fact(ConditionType.MODEL_READY, outcome, holds=answering is not None and answering.engine_ready),
        _fact(ConditionType.GUARD_READY, outcome, holds=answering is not None and answering.guard_ready),
    ]
    conditions = write_conditions(outcome, facts, previous=before.conditions, generation=observed.generation, now=now)
    status = before.model_copy(
        update={
            "observed_generation": observed.generation,
            "conditions": conditions,
            "phase": _phase(outcome, passed=passed or kept is not None),
            "stable": served if isinstance(outcome, Done) else stable,
        }
    )
    return Decision(
        status=status,
        apply=tuple(child for child in wanted if child.ref not in observed.children or _differs(child, deployment)),
        delete=tuple(sorted(ref for ref in observed.children if ref not in keep)),
        events=_events(before, status, outcome),
    )


def _find(observed: Observed, name: str) -> DeploymentState | None:
    return next((found for found in observed.deployments if found.name == name), None)


def _differs(child: Child, deployment: DeploymentState | None) -> bool:
    """Whether a Deployment asks for another number of pods than it should: all that changes of it in place."""
    if deployment is None or child.ref != ChildRef("Deployment", deployment.name) or deployment.replicas is None:
        return False
    wanted = child.manifest["spec"].get("replicas")
    return wanted is not None and wanted != deployment.replicas


def _fact(kind: ConditionType, outcome: Outcome, *, holds: bool) -> Fact:
    state = ConditionStatus.TRUE if holds else ConditionStatus.FALSE
    return Fact(kind, state, Reason.READY if holds else outcome.reason, "" if holds else outcome.message)


def _phase(outcome: Outcome, *, passed: bool) -> Phase:
    if isinstance(outcome, Done):
        return Phase.SERVING
    if isinstance(outcome, Stopped):
        return Phase.STALLED
    return Phase.RUNNING if passed else Phase.PENDING


def _events(before: GuardedInferenceStatus, after: GuardedInferenceStatus, outcome: Outcome) -> tuple[Event, ...]:
    if before.phase == after.phase:
        return ()
    severity = EventType.WARNING if isinstance(outcome, Stopped) else EventType.NORMAL
    return (Event(severity, outcome.reason, outcome.message),)
