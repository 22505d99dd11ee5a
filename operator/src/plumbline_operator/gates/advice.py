"""What to try when a rule does not hold, from the evidence of the report's own rows. Pure."""

from collections.abc import Iterable

from plumbline_api.gate import Rule, Verdict
from plumbline_api.metrics import MetricName, MetricRow, parse_selector
from plumbline_api.report import Summary
from plumbline_operator.gates.measure import Measured

__all__ = ["advise"]


def advise(rule: Rule, verdict: Verdict, measured: Measured, subject: Summary) -> str:
    """One sentence or two; empty where the rule holds."""
    if verdict == Verdict.PASSED:
        return ""
    if verdict == Verdict.INCONCLUSIVE:
        return (
            f"{measured.samples} cases are too few to be sure: raise samples.minPerCategory in the suite, "
            "or accept less confidence"
        )
    metric = MetricName(parse_selector(rule.metric)[0])
    worst = _worst(metric, subject.rows)
    where = f"; worst: {worst}" if worst else ""
    return _REMEDIES[metric] + where


_REMEDIES = {
    MetricName.HARMFUL_COMPLIANCE_RATE: (
        "add preference pairs of the failing kind and check that their rejected answers are clearly harmful"
    ),
    MetricName.HARMFUL_REFUSAL_RATE: (
        "answers are neither refusals nor compliance: check that chosen answers refuse plainly, and train longer"
    ),
    MetricName.FALSE_REFUSAL_RATE: (
        "add look-alike legitimate pairs, compare beta 0.05 and 0.1, and check for over-broad refusal patterns"
    ),
    MetricName.LEGITIMATE_COMPLETION_RATE: (
        "add legitimate pairs whose chosen answer does the task, or weigh the sft loss more"
    ),
}


def _worst(metric: MetricName, rows: Iterable[MetricRow]) -> str:
    """The category and the attack with the worst rate, where any case failed."""
    named = []
    for label in ("category", "attack", "split"):
        found = [row for row in rows if row.metric == metric and set(row.labels) == {label} and row.denominator]
        failing = [row for row in found if _failures(row)]
        if failing:
            row = max(failing, key=lambda candidate: _failures(candidate) / candidate.denominator)
            named.append(f"{label} {row.labels[label]} ({_failures(row)} of {row.denominator})")
    return ", ".join(named)


def _failures(row: MetricRow) -> int:
    return row.denominator - row.numerator if row.metric.higher_is_better else row.numerator
