"""What a Job's end means: phase, summary and, where it failed, the reason in words. Used by `jobs`.

The exit code is the program's word; the summary it left is its reason.
"""

from pathlib import Path

from pydantic import ValidationError

from plumbline_api.progress import Progress
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_operator.exits import reason_of_exit
from plumbline_operator.local.errors import in_plain_words
from plumbline_operator.local.podplan import Cause, PodResult, log_file, progress_file, termination_file
from plumbline_operator.local.retries import GiveUp
from plumbline_operator.observed import Problem

__all__ = ["explain_exit", "explain_failure", "explain_missing_summary", "read_progress", "read_summary"]

MOST_TEXT = 900
TAIL = 65536


def read_summary(attempt: Path, container: str) -> Summary | None:
    """The summary a container left, or None where there is none that can be read."""
    path = termination_file(attempt, container)
    with in_plain_words(path):
        try:
            return Summary.read(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None


def read_progress(attempt: Path, container: str) -> Progress | None:
    """The last whole line of progress that a container wrote."""
    path = progress_file(attempt, container)
    with in_plain_words(path):
        try:
            with path.open("rb") as source:
                source.seek(max(0, path.stat().st_size - TAIL))
                lines = source.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return None
    for line in reversed(lines[-20:]):
        try:
            return Progress.read(line)
        except ValidationError:
            continue
    return None


def explain_failure(end: GiveUp, attempt: Path, summary: Summary | None, *, attempts: int) -> Problem:
    """Why a Job failed, with the place to look."""
    last = end.last
    reason, fact = _reason(last, summary)
    if end.exhausted and reason == Reason.INTERNAL_ERROR:
        reason = Reason.BACKOFF_EXCEEDED
    if attempts > 1:
        fact = f"{fact} (attempt {attempts}, the last)"
    return Problem(reason, f"{_cut(fact)}; log: {_place(attempt, last.container)}")


def explain_exit(last: PodResult, attempt: Path, *, starts: int) -> Problem:
    """Why a container that should stay up does not."""
    reason, fact = _reason(last, read_summary(attempt, last.container))
    if starts > 1:
        fact = f"{fact}, {starts} times in a row"
    return Problem(reason, f"{_cut(fact)}; log: {_place(attempt, last.container)}")


def explain_missing_summary(attempt: Path, container: str) -> Problem:
    """A Job that ended well without a summary that says so."""
    path = termination_file(attempt, container)
    fact = f"container {container} ended with exit code 0, but {_lack(path)}; report this as a defect of the program"
    return Problem(Reason.REPORT_INVALID, f"{_cut(fact)}; log: {_place(attempt, container)}")


def _lack(path: Path) -> str:
    """What is wrong with a summary, without a word of its content."""
    if not path.exists():
        return f"left no summary in {path}"
    try:
        Summary.read(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the whole"
        return f"its summary {path} cannot be read ({field}: {first['type']})"
    return f"its summary {path} does not say that it succeeded"


def _reason(last: PodResult, summary: Summary | None) -> tuple[Reason, str]:
    where = f"container {last.container}" if last.container else "the pod"
    if last.cause == Cause.OUT_OF_MEMORY:
        return Reason.OUT_OF_MEMORY, f"{where} exceeded its memory ({last.message}); raise compute.memory"
    if last.cause == Cause.DEADLINE:
        return Reason.DEADLINE_EXCEEDED, "all attempts together took longer than the timeout allows; raise timeout"
    if last.cause == Cause.NOT_STARTED:
        return Reason.BAD_CONFIGURATION, f"{where} could not be started ({last.message})"
    if last.cause == Cause.PROBE_FAILED:
        return Reason.DEPENDENCY_UNAVAILABLE, f"{where} did not come up ({last.message})"
    if summary is not None and summary.result != Result.SUCCEEDED and summary.message:
        return summary.reason, summary.message
    return reason_of_exit(last.exit_code), f"{where} {_ending(last)}"


def _ending(last: PodResult) -> str:
    how = f"was killed by signal {last.exit_code - 128}" if last.exit_code > 128 else f"ended with {last.exit_code}"
    return f"{how} ({last.message})" if last.message else how


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _place(attempt: Path, container: str) -> str:
    """The last line of a log, as file:line. What it says stays there: it may hold what no message should."""
    path = log_file(attempt, container or "pod")
    try:
        with path.open("rb") as log:
            lines = sum(1 for _ in log)
    except OSError:
        return str(attempt)
    return f"{path}:{max(1, lines)}"
