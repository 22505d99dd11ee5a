"""What Prometheus can know of the operator: counters are counted where things happen, the rest is read when asked."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from plumbline_api.names import Kind
from plumbline_operator.kube.api.errors import Call
from plumbline_operator.kube.seen.census import Standing

__all__ = ["Metrics", "Readings"]

_QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAITS: Final = (0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)


@dataclass(frozen=True)
class Readings:
    """The state of the operator at one moment."""

    depth: int = 0
    working: int = 0
    delayed: int = 0
    leader: bool = False
    loop_lag: float = 0.0
    """Seconds by which the event loop was late at its last look at the clock."""
    watch_ages: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Seconds since each watch last heard of the server, by resource and namespace."""
    standings: Mapping[Standing, int] = field(default_factory=dict)
    events_dropped: int = 0


class Metrics:
    """One registry: several operators in one process, as in tests, do not mix."""

    def __init__(self) -> None:
        # A second series for each counter, with the moment of its making, tells nobody anything.
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._queue_wait = Histogram(
            "plumbline_queue_wait_seconds", "Time from an event to its turn.", buckets=_WAITS, registry=self.registry
        )
        self._reconciles = Histogram(
            "plumbline_reconcile_seconds",
            "Time of one turn of work, by kind and result.",
            ["kind", "result"],
            buckets=_QUICK,
            registry=self.registry,
        )
        self._calls = Counter(
            "plumbline_api_requests_total",
            "Calls of the API server; code 0 stands for no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self._call_seconds = Histogram(
            "plumbline_api_request_seconds",
            "Time until the API server answered.",
            ["verb"],
            buckets=_QUICK,
            registry=self.registry,
        )
        self._reports = Counter(
            "plumbline_progress_reports_total",
            "Reports of progress that came in, by the code they were answered with.",
            ["code"],
            registry=self.registry,
        )
        self._verdicts = Counter(
            "plumbline_gate_verdicts_total", "Verdicts that gates reached.", ["verdict"], registry=self.registry
        )

    def observe(self, read: Callable[[], Readings]) -> None:
        """Say where the state comes from when somebody asks."""
        self.registry.register(_State(read))

    def queue_waited(self, seconds: float) -> None:
        """A key has waited so long for its turn."""
        self._queue_wait.observe(seconds)

    def reconciled(self, kind: Kind, result: str, seconds: float) -> None:
        """A turn of work is over."""
        self._reconciles.labels(kind.value, result).observe(seconds)

    def called(self, call: Call, code: int, seconds: float) -> None:
        """The API server was called."""
        resource = call.resource + (f"/{call.subresource}" if call.subresource else "")
        self._calls.labels(call.verb, resource, str(code)).inc()
        self._call_seconds.labels(call.verb).observe(seconds)

    def verdict(self, verdict: str) -> None:
        """A gate has reached a verdict."""
        self._verdicts.labels(verdict).inc()

    def reported(self, code: int) -> None:
        """A report of progress was answered."""
        self._reports.labels(str(code)).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)


class _State(Collector):
    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering reads no state."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        now = self._read()
        yield _gauge("plumbline_queue_depth", "Objects that wait for their turn.", now.depth)
        yield _gauge("plumbline_queue_working", "Objects that are being worked on.", now.working)
        yield _gauge("plumbline_queue_delayed", "Objects that have their turn at a later moment.", now.delayed)
        yield _gauge("plumbline_leader", "1 where this replica does the work.", float(now.leader))
        yield _gauge("plumbline_loop_lag_seconds", "By how much the event loop was late.", now.loop_lag)
        yield _gauge("plumbline_events_dropped", "Events that could not be told the API server.", now.events_dropped)
        ages = GaugeMetricFamily(
            "plumbline_watch_age_seconds", "Since a watch last heard of the server.", labels=["resource", "namespace"]
        )
        for where, age in now.watch_ages.items():
            ages.add_metric(list(where), age)
        yield ages
        objects = GaugeMetricFamily(
            "plumbline_objects", "Objects by kind, phase, method and verdict.", labels=["kind", *_STANDING]
        )
        for standing, count in now.standings.items():
            objects.add_metric([standing.kind.value, standing.phase, standing.method, standing.verdict], count)
        yield objects


_STANDING: Final = ("phase", "method", "verdict")


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
