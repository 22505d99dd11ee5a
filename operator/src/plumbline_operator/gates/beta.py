"""Quantiles of the beta distribution, to ten digits and more. Pure; called by `statistics`.

Written out here because a library for it takes a second of one core to load: an operator that did so in the middle of
its work stood still meanwhile, and on a busy node for longer than it may go without renewing its lease.
"""

import math
from typing import Final

__all__ = ["beta_quantile"]

_TINY: Final = 1e-300
_CLOSE: Final = 1e-14
_MOST_TERMS: Final = 20_000
"""The fraction needs about the square root of its larger parameter, and parameters count samples."""


def beta_quantile(a: int, b: int, probability: float) -> float:
    """The value below which a Beta(a, b) variable lies with this probability, for whole a and b of 1 or more."""
    low, high = 0.0, 1.0
    while high - low > _CLOSE * high:
        middle = (low + high) / 2
        if _probability_below(a, b, middle) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _probability_below(a: int, b: int, x: float) -> float:
    """The regularised incomplete beta function: NIST Digital Library of Mathematical Functions, 8.17.22."""
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x))
    # On this side of the mean the fraction converges fast; the other side is its mirror image.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, 1.0 - x) / b


def _fraction(a: int, b: int, x: float) -> float:
    """The continued fraction of 8.17.22 by Lentz's method (Applied Optics 15, 1976, 668)."""
    upper, lower = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1) or _TINY)
    value = lower
    for term in range(1, _MOST_TERMS):
        twice = a + 2 * term
        even = term * (b - term) * x / ((twice - 1) * twice)
        odd = -(a + term) * (a + b + term) * x / (twice * (twice + 1))
        for factor in (even, odd):
            lower = 1.0 / (1.0 + factor * lower or _TINY)
            upper = 1.0 + factor / upper or _TINY
            value *= lower * upper
        if abs(lower * upper - 1.0) < _CLOSE:
            break
    return value
