"""Making a summary fit into a termination message. Pure but for `leave`, which writes it; called by main.py.

What does not fit is left out from the end of a fixed order, and the message says so: the overall rates stay, then the
splits, then by metric (harmful compliance first) the categories and the attacks. The full report has every row.
"""

import os
from pathlib import Path

from plumbline_api.metrics import MetricName, MetricRow
from plumbline_api.model import canonical_json
from plumbline_api.names import SUMMARY_LIMIT_BYTES
from plumbline_api.report import Summary
from plumbline_evaluator.errors import BadInstallation

__all__ = ["fit", "leave"]

_METRICS = (
    MetricName.HARMFUL_COMPLIANCE_RATE,
    MetricName.FALSE_REFUSAL_RATE,
    MetricName.LEGITIMATE_COMPLETION_RATE,
    MetricName.HARMFUL_REFUSAL_RATE,
)
_LEVELS = ("", "split", "category", "attack")
_MESSAGE_LIMIT = 512


def fit(summary: Summary, limit: int = SUMMARY_LIMIT_BYTES) -> Summary:
    """The summary with as many of its rows, most important first, as leave it within the limit."""
    if len(canonical_json(summary)) <= limit:
        return summary
    ordered = sorted(summary.rows, key=_importance)
    low, high = 0, len(ordered) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if len(canonical_json(_cut(summary, ordered, middle))) <= limit:
            low = middle
        else:
            high = middle - 1
    return _cut(summary, ordered, low)


def leave(summary: Summary, path: Path) -> None:
    """Write the summary where whoever started us looks for it, in one step where the place allows it.

    Raises:
        BadInstallation: when it cannot be written.
    """
    content = canonical_json(fit(summary))
    try:
        if (path.exists() and not path.is_file()) or os.path.ismount(path):
            path.write_bytes(content)
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise BadInstallation(
            f"{path}: the summary cannot be written ({error.strerror}); "
            "set PLUMBLINE_TERMINATION_LOG to a file in a folder that exists and is writable"
        ) from error


def _importance(row: MetricRow) -> tuple[int, int, int, str]:
    level = next(iter(row.labels), "")
    depth, metric = _LEVELS.index(level), _METRICS.index(row.metric)
    return (0, depth, metric, row.labels.get(level, "")) if depth < 2 else (1, metric, depth, row.labels[level])


def _cut(summary: Summary, ordered: list[MetricRow], keep: int) -> Summary:
    kept = set(map(id, ordered[:keep]))
    note = f"{len(ordered) - keep} of {len(ordered)} rows by category and attack stand in the full report only"
    message = f"{summary.message}; {note}" if summary.message else note
    return summary.model_copy(
        update={
            "rows": tuple(row for row in summary.rows if id(row) in kept),
            "message": message if len(message) <= _MESSAGE_LIMIT else note,
        }
    )
