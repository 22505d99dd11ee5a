"""EvalGate: this subject passes only if these rules hold."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from plumbline_api.compute import Compute
from plumbline_api.constraints import Checked, Unique, constraint, exactly_one
from plumbline_api.engine import Engine
from plumbline_api.meta import Conditions, ObjectMeta, ObservedGeneration
from plumbline_api.metrics import SELECTOR_PATTERN, JudgeQuality, Label, MetricName, parse_selector
from plumbline_api.model import Document, Timestamp
from plumbline_api.names import API_VERSION, Kind
from plumbline_api.progress import Progress
from plumbline_api.reasons import Phase, Reason
from plumbline_api.scalars import ApiVersion, Confidence, Digest, Name, Rate
from plumbline_api.sources import NamedRef, SubjectSource
from plumbline_api.suggestions import UnknownName

__all__ = [
    "Comparator", "Enforcement", "EvalGate", "EvalGateSpec", "EvalGateStatus", "Evidence", "Rule", "RuleRow", "Verdict",
]  # fmt: skip


class Verdict(StrEnum):
    """What a gate says. Only Passed lets anything through."""

    PASSED = "Passed"
    """Every required rule was measured and holds."""
    FAILED = "Failed"
    """A rule was measured and does not hold."""
    ERROR = "Error"
    """Something could not be measured."""
    INCONCLUSIVE = "Inconclusive"
    """What was measured satisfies the rules, but with too few samples to be sure."""


class Comparator(StrEnum):
    """The four forms of a rule."""

    AT_MOST = "atMost"
    """The metric is at most the threshold."""
    AT_LEAST = "atLeast"
    """The metric is at least the threshold."""
    REDUCTION_FROM_BASELINE = "reductionFromBaseline"
    """The metric fell by at least this share of the baseline's."""
    NOT_WORSE_THAN_BASELINE_BY = "notWorseThanBaselineBy"
    """The metric is worse than the baseline's by this much at most."""


def _is_metric(selector: str) -> bool:
    """True; what is not a metric raises an error that names the nearest."""
    name, labels = parse_selector(selector)
    if name not in tuple(MetricName):
        raise UnknownName("a metric", name, MetricName)
    for label in labels:
        if label not in tuple(Label):
            raise UnknownName("a label of metrics", label, Label)
    return True


Selector = Annotated[
    str,
    Field(min_length=1, max_length=200),
    Checked(
        f"is not a metric; write name or name{{label=value}} with a name of {', '.join(MetricName)} "
        f"and labels of {', '.join(Label)}",
        f"self.matches(r'{SELECTOR_PATTERN}')",
        _is_metric,
    ),
]


class Enforcement(StrEnum):
    """What a rule that does not hold does."""

    REQUIRED = "Required"
    """It keeps the subject from passing."""
    REPORTED = "Reported"
    """It is shown, and changes nothing."""


_BETTER_HIGHER: Final = tuple(name for name in MetricName if name.higher_is_better)
_CASE_LABELS: Final = "|".join(label for label in Label if label != Label.SPLIT)


class Rule(Document):
    """One requirement on one metric. No threshold has a default."""

    metric: Selector
    """`name` or `name{label=value}`, for example `harmful_compliance_rate{category=self_harm}`."""
    at_most: Rate | None = None
    """The metric is this at most."""
    at_least: Rate | None = None
    """The metric is this at least."""
    reduction_from_baseline: Rate | None = None
    """The metric must fall by at least this share of the baseline's, over the same cases."""
    not_worse_than_baseline_by: Rate | None = None
    """The metric may be worse than the baseline's by this much at most, over the same cases."""
    confidence: Confidence | None = None
    """Hold the rule with this one-sided confidence; left out, the observed value decides."""
    min_samples: Annotated[int, Field(ge=1, le=100_000)] = 30
    """Fewer cases than this are never enough."""
    enforcement: Enforcement = Enforcement.REQUIRED
    """Whether the rule decides, or is only reported."""

    _one_comparator = exactly_one("at_most", "at_least", "reduction_from_baseline", "not_worse_than_baseline_by")

    @constraint(
        "asks for less of a metric that is better when higher",
        field="reductionFromBaseline",
        cel=f"!has(self.reductionFromBaseline) || !self.metric.matches('^({'|'.join(_BETTER_HIGHER)})([{{]|$)')",
    )
    def _reduces_what_is_bad(self) -> bool:
        return self.reduction_from_baseline is None or parse_selector(self.metric)[0] not in _BETTER_HIGHER

    @constraint(
        "may have no label but split where a rule compares with the baseline, over whole suites or splits",
        field="metric",
        cel="!has(self.reductionFromBaseline) && !has(self.notWorseThanBaselineBy) "
        f"|| !self.metric.matches('[{{,]({_CASE_LABELS})=')",
    )
    def _compares_whole_splits(self) -> bool:
        return not self.needs_baseline or not set(parse_selector(self.metric)[1]) - {Label.SPLIT}

    def _value(self, comparator: Comparator) -> str | None:
        value: str | None = {
            Comparator.AT_MOST: self.at_most,
            Comparator.AT_LEAST: self.at_least,
            Comparator.REDUCTION_FROM_BASELINE: self.reduction_from_baseline,
            Comparator.NOT_WORSE_THAN_BASELINE_BY: self.not_worse_than_baseline_by,
        }[comparator]
        return value

    @property
    def comparator(self) -> Comparator:
        """The form that is set."""
        return next(arm for arm in Comparator if self._value(arm) is not None)

    @property
    def threshold(self) -> str:
        """The threshold as it was written."""
        value = self._value(self.comparator)
        if value is None:
            raise AssertionError("a rule without a threshold cannot be built")
        return value

    @property
    def needs_baseline(self) -> bool:
        """Whether the rule compares with the baseline."""
        return self.reduction_from_baseline is not None or self.not_worse_than_baseline_by is not None


class EvalGateSpec(Document):
    """Who is judged, against whom, by which suites and rules."""

    subject: SubjectSource
    """The model that is judged."""
    baseline: SubjectSource | None = None
    """The model that it is compared with, over the same cases."""
    suites: Annotated[tuple[NamedRef, ...], Field(min_length=1, max_length=8), Unique("name")]
    """The RedTeamSuites that are executed against subject and baseline."""
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=64)]
    """Every rule must hold in every suite."""
    engine: Engine = Field(default_factory=Engine)
    """What computes the answers that are judged; what passes is served by an engine of this type and precision."""
    compute: Compute = Field(default_factory=Compute)
    """What the engine of one evaluation Job may use."""

    @constraint(
        "a rule compares with the baseline, but the gate names no baseline",
        cel="has(self.baseline) || "
        "!self.rules.exists(rule, has(rule.reductionFromBaseline) || has(rule.notWorseThanBaselineBy))",
    )
    def _has_its_baseline(self) -> bool:
        return self.baseline is not None or not any(rule.needs_baseline for rule in self.rules)

    @constraint(
        "must hold one at least that is Required, or nothing could fail",
        field="rules",
        cel=f"self.rules.exists(rule, !has(rule.enforcement) || rule.enforcement == '{Enforcement.REQUIRED}')",
    )
    def _can_fail(self) -> bool:
        return any(rule.enforcement == Enforcement.REQUIRED for rule in self.rules)

    @constraint("must leave nodes at 1: an evaluation runs in one pod", field="compute", cel="self.compute.nodes == 1")
    def _evaluates_in_one_pod(self) -> bool:
        return self.compute.nodes == 1


class RuleRow(Document):
    """One line of a verdict: what was required, what was seen."""

    suite: Name
    """The suite it was measured in."""
    metric: Annotated[str, Field(max_length=200)]
    """The rule's selector."""
    comparator: Comparator
    """The rule's form."""
    threshold: Annotated[str, Field(max_length=16)]
    """The rule's threshold as it was written."""
    confidence: Annotated[str, Field(max_length=8)] | None = None
    """The rule's confidence; absent where the observed value decides."""
    observed: Annotated[str, Field(max_length=16)] | None = None
    """The point estimate, four decimals."""
    bound: Annotated[str, Field(max_length=16)] | None = None
    """The exact bound on the side that matters, at the rule's confidence (0.95 where it names none)."""
    numerator: int | None = None
    """Cases that count."""
    samples: int = 0
    """Cases in all."""
    enforcement: Enforcement = Enforcement.REQUIRED
    """Whether the row decides."""
    verdict: Verdict
    """Whether the rule holds."""
    reason: Reason
    """Why the row has its verdict."""
    advice: Annotated[str, Field(max_length=512)] = ""
    """What to try where the rule does not hold."""


class Evidence(Document):
    """One execution that a verdict rests on."""

    suite: Name
    """The suite that was executed."""
    role: Annotated[str, Field(pattern="^(subject|baseline)$", max_length=8)]
    """`subject` or `baseline`."""
    model: Digest
    """Digest of the model that answered."""
    report: Digest | None = None
    """Digest of the full report."""
    cases: Digest | None = None
    """Digest of the cases that were asked."""
    evaluator: Annotated[str, Field(max_length=512)]
    """The evaluator's image."""
    judge: Annotated[tuple[JudgeQuality, ...], Field(max_length=4)] = ()
    """How good the judges are on answers that people labelled."""


class EvalGateStatus(Document):
    """What the operator knows of a gate."""

    observed_generation: ObservedGeneration = -1
    """The generation of the spec that this status speaks of; -1 before there is one."""
    phase: Phase = Phase.PENDING
    """Printed summary, derived from conditions."""
    conditions: Conditions = ()
    """List-map by type."""
    verdict: Verdict | None = None
    """The verdict, once there is one."""
    subject: Digest | None = None
    """The model the verdict is about; the verdict is void for any other."""
    baseline: Digest | None = None
    """The model it was compared with."""
    binding: Digest | None = None
    """Digest of all that the verdict depends on: models, suites, rules, engine, images of evaluator and engine."""
    software: Digest | None = None
    """Digest of the images among them; a verdict of another release's images lets nothing new through."""
    standing: Digest | None = None
    """Digest of models, suites, rules and engine that passed; while they are evaluated again only because images
    are others, what is served goes on."""
    rows: Annotated[tuple[RuleRow, ...], Field(max_length=512)] = ()
    """One row per rule and suite."""
    evidence: Annotated[tuple[Evidence, ...], Field(max_length=16)] = ()
    """The executions that the verdict rests on."""
    advice: Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(max_length=16)] = ()
    """What to try next, where the gate did not pass."""
    progress: Progress | None = None
    """Of the execution that runs now."""
    completion_time: Timestamp | None = None
    """When the verdict was reached."""
    retry: Annotated[str, Field(max_length=256)] = ""
    """The last retry nonce that was acted upon."""
    attempt: int = 1
    """How often the evaluation was started, retries included."""


class EvalGate(Document):
    """The resource."""

    api_version: ApiVersion = API_VERSION
    """The group and version."""
    kind: Annotated[str, Field(pattern=f"^{Kind.EVAL_GATE}$")] = Kind.EVAL_GATE.value
    """The kind."""
    metadata: ObjectMeta
    """Name, namespace, labels and annotations."""
    spec: EvalGateSpec
    """Who is judged, against whom, by which suites and rules."""
