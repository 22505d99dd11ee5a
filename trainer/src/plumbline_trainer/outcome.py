"""The end of a stage as documents: the Summary for the operator, the Report for the record.

Called by `stage` and `main`. The summary is cut to what a termination message may hold and written atomically.
"""

from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

from plumbline_api.model import canonical_json
from plumbline_api.names import SUMMARY_LIMIT_BYTES
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_store import StoreError
from plumbline_trainer.failures import StageFailure

__all__ = ["describe_failure", "describe_preemption", "library_versions", "write_summary"]

MESSAGE_LIMIT: Final = 512
LIBRARIES: Final = (
    "plumbline-trainer", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "safetensors",
)  # fmt: skip


def library_versions() -> Mapping[str, str]:
    """Versions of what computes a result, without importing it."""
    return {name: version(name) for name in LIBRARIES}


def describe_failure(error: StageFailure | StoreError, cache_key: str | None) -> Summary:
    """What the operator is told of a failure; advice joins the message, because it may be all that is read."""
    advice, report = (error.advice, error.report) if isinstance(error, StageFailure) else ((), None)
    message = shorten(". ".join((str(error), *advice)))
    return Summary(result=Result.FAILED, reason=error.reason, message=message, cache_key=cache_key, report=report)


def describe_preemption(message: str, cache_key: str | None) -> Summary:
    """What the operator is told of a stop that will be resumed."""
    return Summary(result=Result.PREEMPTED, reason=Reason.PREEMPTED, message=shorten(message), cache_key=cache_key)


def shorten(message: str) -> str:
    """A message within the contract's limit."""
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"


def write_summary(summary: Summary, path: Path) -> None:
    """Write the summary where whoever runs this process looks for it.

    Raises:
        OSError: where it cannot be written; exit code 0 without a summary is a failure, so nothing is hidden.
    """
    data = canonical_json(summary)
    if len(data) > SUMMARY_LIMIT_BYTES:
        raise AssertionError(f"a training summary has {len(data)} bytes; {SUMMARY_LIMIT_BYTES} is the limit")
    scratch = path.with_name(f".{path.name}.new")
    try:
        scratch.write_bytes(data)
        scratch.replace(path)
    except OSError:
        # In a pod the place is one mounted file: it cannot be replaced, only written.
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
        path.write_bytes(data)
