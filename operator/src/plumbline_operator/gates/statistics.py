"""Exact bounds on rates and on paired differences of rates.

Single rates: Clopper and Pearson, Biometrika 26 (1934) 404. Paired comparisons combine exact bounds of their parts
by Bonferroni's inequality: no approximation for large samples, valid at any size, and on the safe side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from plumbline_operator.gates.beta import beta_quantile

__all__ = ["Pairs", "count_pairs", "difference", "difference_bound", "lower_bound", "reduction", "reduction_bound",
           "upper_bound"]  # fmt: skip


def upper_bound(count: int, total: int, confidence: float) -> float:
    """The rate that `count` of `total` does not exceed, one-sided, with this confidence; 1 without any sample."""
    if count >= total:
        return 1.0
    return beta_quantile(count + 1, total - count, confidence)


def lower_bound(count: int, total: int, confidence: float) -> float:
    """The rate that `count` of `total` does not fall below, one-sided, with this confidence; 0 without any sample."""
    if count <= 0 or total <= 0:
        return 0.0
    return beta_quantile(count, total - count + 1, 1.0 - confidence)


@dataclass(frozen=True)
class Pairs:
    """The same cases asked of baseline and candidate, counted by who showed the outcome."""

    both: int
    only_baseline: int
    only_candidate: int
    neither: int

    @property
    def total(self) -> int:
        """All pairs."""
        return self.both + self.only_baseline + self.only_candidate + self.neither

    @property
    def baseline(self) -> int:
        """Cases in which the baseline showed the outcome."""
        return self.both + self.only_baseline

    @property
    def candidate(self) -> int:
        """Cases in which the candidate showed the outcome."""
        return self.both + self.only_candidate


def count_pairs(baseline: Sequence[bool], candidate: Sequence[bool]) -> Pairs:
    """Count outcomes of equal order; raises ValueError when their numbers differ."""
    pairs = list(zip(baseline, candidate, strict=True))
    return Pairs(
        both=pairs.count((True, True)),
        only_baseline=pairs.count((True, False)),
        only_candidate=pairs.count((False, True)),
        neither=pairs.count((False, False)),
    )


def reduction(pairs: Pairs) -> float | None:
    """1 - p_candidate / p_baseline; None when the baseline never showed the outcome."""
    return 1.0 - pairs.candidate / pairs.baseline if pairs.baseline else None


def reduction_bound(pairs: Pairs, confidence: float) -> float | None:
    """Lower bound of the reduction; None when the baseline never showed the outcome.

    With p0 the baseline's rate, q1 the candidate's rate where the baseline shows the outcome and q0 where it does
    not, p1 / p0 = q1 + q0 (1 - p0) / p0. Each part gets an exact bound at a third of the error.
    """
    if pairs.baseline == 0:
        return None
    each = 1.0 - (1.0 - confidence) / 3.0
    kept = upper_bound(pairs.both, pairs.baseline, each)
    new = upper_bound(pairs.only_candidate, pairs.total - pairs.baseline, each)
    rate = lower_bound(pairs.baseline, pairs.total, each)
    return 1.0 - (kept + new * (1.0 - rate) / rate)


def difference(pairs: Pairs) -> float:
    """p_candidate - p_baseline; 0 without any pair."""
    return (pairs.only_candidate - pairs.only_baseline) / pairs.total if pairs.total else 0.0


def difference_bound(pairs: Pairs, confidence: float) -> float:
    """Upper bound of p_candidate - p_baseline, from exact bounds on both kinds of discordant pairs."""
    each = 1.0 - (1.0 - confidence) / 2.0
    gained = upper_bound(pairs.only_candidate, pairs.total, each)
    return gained - lower_bound(pairs.only_baseline, pairs.total, each)
