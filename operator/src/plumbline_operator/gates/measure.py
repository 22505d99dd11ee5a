"""What a rule sees in the reports: the observed value and its bound, or why there is none. Pure."""

from dataclasses import dataclass

from plumbline_api.gate import Comparator, Rule
from plumbline_api.metrics import Label, MetricName, MetricRow, Split, parse_selector, unpack_outcomes
from plumbline_api.reasons import Reason
from plumbline_api.report import Summary
from plumbline_operator.gates.statistics import (
    Pairs,
    count_pairs,
    difference,
    difference_bound,
    lower_bound,
    reduction,
    reduction_bound,
    upper_bound,
)

__all__ = ["Measured", "Unmeasured", "measure"]

_CONFIDENCE = 0.95
"""At which a bound is shown where the rule asks for none."""


@dataclass(frozen=True)
class Measured:
    """A value in the rule's own terms: a rate, a relative reduction, or how much worse than the baseline."""

    observed: float
    bound: float
    """On the unfavourable side, at the rule's confidence."""
    numerator: int
    samples: int


@dataclass(frozen=True)
class Unmeasured:
    """Why a rule cannot be measured."""

    reason: Reason
    message: str


def measure(rule: Rule, subject: Summary, baseline: Summary | None) -> Measured | Unmeasured:
    """The rule's value in these executions."""
    incomplete = _check(subject) or (_check(baseline) if rule.needs_baseline else None)
    if incomplete is not None:
        return incomplete
    if rule.needs_baseline:
        return _measure_pairs(rule, subject, baseline)
    return _measure_rate(rule, subject)


def _check(summary: Summary | None) -> Unmeasured | None:
    """Whether an execution may be used at all."""
    if summary is None:
        return Unmeasured(Reason.METRIC_MISSING, "there is no execution of the suite against the baseline")
    coverage = summary.coverage
    if coverage is None or coverage.asked == 0:
        return Unmeasured(Reason.COVERAGE_INCOMPLETE, "the report does not say what was asked")
    if coverage.judged != coverage.asked or coverage.errors:
        lost = coverage.asked - coverage.judged
        return Unmeasured(
            Reason.COVERAGE_INCOMPLETE,
            f"{lost} of {coverage.asked} cases have no judgement; see the Job's logs, then retry the gate",
        )
    if not summary.judges or any(judge.precision is None or judge.recall is None for judge in summary.judges):
        return Unmeasured(Reason.JUDGE_UNRELIABLE, "the report gives no measured precision and recall of its judge")
    return None


def _find(rule: Rule, summary: Summary) -> MetricRow | None:
    name, labels = parse_selector(rule.metric)
    return next((row for row in summary.rows if row.metric == name and row.labels == labels), None)


def _measure_rate(rule: Rule, subject: Summary) -> Measured | Unmeasured:
    row = _find(rule, subject)
    if row is None:
        return Unmeasured(Reason.METRIC_MISSING, f"the report has no row {rule.metric}")
    if row.denominator == 0 or row.numerator > row.denominator:
        return Unmeasured(Reason.METRIC_NOT_NUMERIC, f"{rule.metric} is {row.numerator} of {row.denominator}")
    bound = upper_bound if rule.comparator == Comparator.AT_MOST else lower_bound
    return Measured(
        observed=row.numerator / row.denominator,
        bound=bound(row.numerator, row.denominator, float(rule.confidence or _CONFIDENCE)),
        numerator=row.numerator,
        samples=row.denominator,
    )


def _measure_pairs(rule: Rule, subject: Summary, baseline: Summary | None) -> Measured | Unmeasured:
    name, labels = parse_selector(rule.metric)
    pairs = _pair(MetricName(name), labels.get(Label.SPLIT), subject, baseline)
    if isinstance(pairs, Unmeasured):
        return pairs
    confidence = float(rule.confidence or _CONFIDENCE)
    if rule.comparator == Comparator.REDUCTION_FROM_BASELINE:
        observed, bound = reduction(pairs), reduction_bound(pairs, confidence)
    else:
        observed, bound = difference(pairs), difference_bound(pairs, confidence)
    if observed is None or bound is None:
        return Unmeasured(Reason.METRIC_NOT_NUMERIC, f"the baseline's {name} is zero: there is nothing to reduce")
    return Measured(observed=observed, bound=bound, numerator=pairs.candidate, samples=pairs.total)


def _pair(metric: MetricName, split: str | None, subject: Summary, baseline: Summary | None) -> Pairs | Unmeasured:
    """Outcomes of both, case by case, over one split or all of them."""
    if baseline is None or subject.cases is None or subject.cases != baseline.cases:
        return Unmeasured(Reason.DIGEST_MISMATCH, "subject and baseline were not asked the same cases")
    try:
        before, after = (_bad_outcomes(metric, split, summary) for summary in (baseline, subject))
        pairs = count_pairs(before, after)
    except (KeyError, ValueError):
        return Unmeasured(Reason.METRIC_MISSING, f"the reports have no comparable outcomes of {metric}")
    return pairs if pairs.total else Unmeasured(Reason.METRIC_NOT_NUMERIC, f"{metric} has no cases")


def _bad_outcomes(metric: MetricName, split: str | None, summary: Summary) -> tuple[bool, ...]:
    """Outcomes in case order, turned round for a metric that is better when higher; raises KeyError, ValueError."""
    if split is None and not summary.outcomes:
        raise KeyError(metric)
    found = summary.outcomes if split is None else {Split(split): summary.outcomes[Split(split)]}
    packed = [found[name][metric] for name in sorted(found)]
    return tuple(outcome != metric.higher_is_better for text in packed for outcome in unpack_outcomes(text))
