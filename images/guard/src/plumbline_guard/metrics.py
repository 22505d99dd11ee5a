"""Counters and histograms of the guard, in Prometheus' text format.

server.py counts; `/metrics` shows. A few dozen lines instead of a dependency: nothing here is dynamic.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Histogram", "Metrics"]

_REQUEST_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_GUARD_BOUNDS: Final = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1)


@dataclass
class Histogram:
    """Counts of observations by upper bound."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def lines(self, name: str) -> Iterator[str]:
        """The samples, cumulative as the format wants them."""
        so_far = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            so_far += count
            yield f'{name}_bucket{{le="{bound}"}} {so_far}'
        yield f"{name}_sum {self.total:.9f}"
        yield f"{name}_count {so_far}"


@dataclass
class Metrics:
    """Everything the guard counts."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By decision and HTTP status."""
    blocks: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By rule and direction."""
    upstream_errors: Counter[str] = field(default_factory=Counter)
    """By error code."""
    in_flight: int = 0
    ready: bool = False
    request_seconds: Histogram = field(default_factory=lambda: Histogram(_REQUEST_BOUNDS))
    guard_seconds: Histogram = field(default_factory=lambda: Histogram(_GUARD_BOUNDS))

    def text(self) -> str:
        """The exposition."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head("plumbline_guard_requests_total", "counter", "Chat requests by decision and HTTP status.")
        for (decision, status), count in sorted(self.requests.items()):
            yield f'plumbline_guard_requests_total{{decision="{decision}",status="{status}"}} {count}'
        yield from _head("plumbline_guard_blocks_total", "counter", "Blocked requests and answers by rule.")
        for (rule, direction), count in sorted(self.blocks.items()):
            yield f'plumbline_guard_blocks_total{{rule="{rule}",direction="{direction}"}} {count}'
        yield from _head("plumbline_guard_upstream_errors_total", "counter", "Answers the engine failed to give.")
        for code, count in sorted(self.upstream_errors.items()):
            yield f'plumbline_guard_upstream_errors_total{{code="{code}"}} {count}'
        yield from _head("plumbline_guard_in_flight", "gauge", "Chat requests at work.")
        yield f"plumbline_guard_in_flight {self.in_flight}"
        yield from _head("plumbline_guard_ready", "gauge", "1 while the engine serves the policy's subject.")
        yield f"plumbline_guard_ready {int(self.ready)}"
        yield from _head("plumbline_guard_request_seconds", "histogram", "From a request's head to its answer's end.")
        yield from self.request_seconds.lines("plumbline_guard_request_seconds")
        yield from _head("plumbline_guard_added_seconds", "histogram", "The guard's own work within a request.")
        yield from self.guard_seconds.lines("plumbline_guard_added_seconds")


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
