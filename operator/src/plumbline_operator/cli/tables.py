"""Tables for people, in kubectl's manner: one line per object, one per rule, one per rate. Pure: data in, rich out."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from plumbline_api.alignment import AlignmentRunStatus, StageState
from plumbline_api.gate import EvalGateStatus, RuleRow, Verdict
from plumbline_api.guarded import GuardedInferenceStatus
from plumbline_api.metrics import MetricName, MetricRow, format_selector
from plumbline_api.names import SHORT_NAMES
from plumbline_api.progress import Progress
from plumbline_api.reasons import ConditionType, Phase
from plumbline_api.redteam import Execution, RedTeamSuiteStatus
from plumbline_operator.gates.statistics import lower_bound, upper_bound
from plumbline_operator.observed import Key, PlumblineStatus
from plumbline_operator.status.conditions import find_condition

__all__ = ["detail", "numbers", "objects_table", "rates_table", "rules_table", "span"]

_COLOURS = {
    Phase.SUCCEEDED: "green",
    Phase.READY: "green",
    Phase.PASSED: "green",
    Phase.SERVING: "green",
    Phase.FAILED: "red",
    Phase.NOT_PASSED: "red",
    Phase.STALLED: "red",
    Phase.RUNNING: "cyan",
    Phase.PENDING: "yellow",
    Phase.SUSPENDED: "yellow",
}
_VERDICT_COLOURS = {Verdict.PASSED: "green", Verdict.INCONCLUSIVE: "yellow"}


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def span(seconds: float) -> str:
    """A duration as kubectl prints ages: 42s, 3m12s, 2h5m."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60}s"
    return f"{whole // 3600}h{whole % 3600 // 60}m"


def objects_table(rows: Iterable[tuple[Key, PlumblineStatus]]) -> Table:
    """NAME, PHASE, TOOK and what there is to say, one line per object."""
    table = _table("NAME", "PHASE", "TOOK", "MESSAGE")
    for key, status in rows:
        ready = find_condition(status.conditions, ConditionType.READY)
        table.add_row(
            f"{SHORT_NAMES[key.kind]}/{key.name}",
            Text(status.phase, style=_COLOURS[status.phase]),
            _took(status),
            detail(status) or ("" if ready is None else ready.message),
        )
    return table


def _took(status: PlumblineStatus) -> str:
    if not isinstance(status, AlignmentRunStatus) or status.start_time is None or status.completion_time is None:
        return ""
    return span((status.completion_time - status.start_time).total_seconds())


def detail(status: PlumblineStatus) -> str:
    """What is going on now, where a progress report says so."""
    if isinstance(status, AlignmentRunStatus):
        for row in status.stages:
            if row.state == StageState.RUNNING and row.progress is not None:
                return f"{row.name}: {numbers(row.progress)}"
    if isinstance(status, EvalGateStatus) and status.progress is not None:
        return numbers(status.progress)
    if isinstance(status, GuardedInferenceStatus) and status.stable is not None and status.stable.endpoint:
        return f"serving at {status.stable.endpoint}"
    if isinstance(status, RedTeamSuiteStatus) and status.executions:
        return f"{len(status.executions)} executions"
    return ""


def numbers(progress: Progress) -> str:
    """Step, loss, accuracy, margin and time left, as far as they are known."""
    step, steps = progress.number("step"), progress.number("maxSteps")
    words = [f"step {step:.0f}/{steps:.0f}"] if step is not None and steps else [f"{progress.progress_percentage} %"]
    for metric, label in (("loss", "loss"), ("rewards/accuracies", "accuracy"), ("rewards/margins", "margin")):
        value = progress.number(metric)
        if value is not None:
            words.append(f"{label} {value:.3g}")
    if progress.estimated_remaining_seconds is not None:
        words.append(f"{span(progress.estimated_remaining_seconds)} left")
    return ", ".join(words)


def rules_table(rows: Sequence[RuleRow]) -> Table:
    """Every rule of a gate: what was required, what was seen, the exact bound, the verdict."""
    table = _table("RULE", "REQUIRED", "OBSERVED", "BOUND", "CASES", "VERDICT")
    for row in rows:
        confidence = f" at {row.confidence}" if row.confidence else ""
        verdict = Text(row.verdict, style=_VERDICT_COLOURS.get(row.verdict, "red"))
        if row.enforcement != "Required":
            verdict = Text(f"({row.verdict}, {row.enforcement.lower()})", style="dim")
        table.add_row(
            row.metric,
            f"{row.comparator} {row.threshold}{confidence}",
            row.observed or "-",
            row.bound or "-",
            str(row.samples),
            verdict,
        )
    return table


def rates_table(before: Execution | None, after: Execution) -> Table:
    """Rates of a suite's executions with exact two-sided 95 % intervals: baseline beside subject."""
    table = _table("RATE", *(["BEFORE"] if before else []), "AFTER")
    earlier = {} if before is None else {_selector(row): row for row in before.rows}
    for row in sorted(
        after.rows, key=lambda found: (format_selector("", found.labels), list(MetricName).index(found.metric))
    ):
        cells = [_selector(row)]
        if before is not None:
            match = earlier.get(_selector(row))
            cells.append("-" if match is None else _rate(match))
        table.add_row(*cells, _rate(row))
    return table


def _selector(row: MetricRow) -> str:
    return format_selector(row.metric, row.labels)


def _rate(row: MetricRow) -> str:
    if row.denominator == 0:
        return "no cases"
    low = lower_bound(row.numerator, row.denominator, 0.975)
    high = upper_bound(row.numerator, row.denominator, 0.975)
    share = 100 * row.numerator / row.denominator
    return f"{share:5.1f} % [{100 * low:.1f}, {100 * high:.1f}] ({row.numerator}/{row.denominator})"
