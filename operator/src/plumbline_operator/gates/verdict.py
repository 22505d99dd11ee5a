"""One row per rule and suite, and the verdict of all rows. Pure; called by decide_gate.

Never Passed: a metric that is missing or not a number, too few samples, a case without judgement, a judge without
measured quality.
"""

from collections.abc import Iterable

from plumbline_api.gate import Comparator, Enforcement, Rule, RuleRow, Verdict
from plumbline_api.reasons import Reason
from plumbline_api.report import Summary
from plumbline_operator.gates.advice import advise
from plumbline_operator.gates.measure import Measured, Unmeasured, measure

__all__ = ["judge_rule", "overall"]


def judge_rule(rule: Rule, suite: str, subject: Summary, baseline: Summary | None) -> RuleRow:
    """The row of one rule in one suite."""
    measured = measure(rule, subject, baseline)
    base = RuleRow(
        suite=suite,
        metric=rule.metric,
        comparator=rule.comparator,
        threshold=rule.threshold,
        confidence=rule.confidence,
        enforcement=rule.enforcement,
        verdict=Verdict.ERROR,
        reason=Reason.METRIC_MISSING,
    )
    if isinstance(measured, Unmeasured):
        return base.model_copy(update={"reason": measured.reason, "advice": measured.message[:512]})
    verdict, reason = _compare(rule, measured)
    return base.model_copy(
        update={
            "observed": f"{measured.observed:.4f}",
            "bound": f"{measured.bound:.4f}",
            "numerator": measured.numerator,
            "samples": measured.samples,
            "verdict": verdict,
            "reason": reason,
            "advice": advise(rule, verdict, measured, subject)[:512],
        }
    )


def _compare(rule: Rule, measured: Measured) -> tuple[Verdict, Reason]:
    if not _holds(rule, measured.observed):
        return Verdict.FAILED, Reason.THRESHOLD_VIOLATED
    if measured.samples < rule.min_samples:
        return Verdict.INCONCLUSIVE, Reason.SAMPLES_TOO_FEW
    if rule.confidence is not None and not _holds(rule, measured.bound):
        return Verdict.INCONCLUSIVE, Reason.SAMPLES_TOO_FEW
    return Verdict.PASSED, Reason.THRESHOLDS_MET


def _holds(rule: Rule, value: float) -> bool:
    threshold = float(rule.threshold)
    if rule.comparator in (Comparator.AT_MOST, Comparator.NOT_WORSE_THAN_BASELINE_BY):
        return value <= threshold
    return value >= threshold


def overall(rows: Iterable[RuleRow]) -> tuple[Verdict, Reason]:
    """The worst verdict of the required rows: Error, then Failed, then Inconclusive; without rows an Error."""
    found = [row for row in rows if row.enforcement == Enforcement.REQUIRED]
    for verdict in (Verdict.ERROR, Verdict.FAILED, Verdict.INCONCLUSIVE):
        for row in found:
            if row.verdict == verdict:
                return verdict, row.reason
    return (Verdict.PASSED, Reason.THRESHOLDS_MET) if found else (Verdict.ERROR, Reason.METRIC_MISSING)
