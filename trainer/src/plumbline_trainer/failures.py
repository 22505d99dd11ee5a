"""How a stage can end other than well, as a tree; raised by every module here, told to people by `stage`.

    StageFailure               the stage cannot give a result
    |-- BadSpec                the RunFile asks for something impossible
    |   `-- UnstableTraining   the numbers left the range of numbers; the options must change
    |-- BadData                the model or the data set is broken or unusable
    |-- BadConfiguration       the installation is wrong: no space, an unusable folder
    |-- NotPermitted           the file system refused
    |-- NoMeeting              the processes that should train together did not find each other
    `-- OutOfMemory            the memory of this machine or of the Job is too small
    Preempted                  told to stop; not a failure, and nothing that a library should swallow

Each message names the place, the fact and the remedy, and never quotes data.
"""

import errno
import logging
import traceback
from pathlib import Path
from typing import ClassVar

from plumbline_api.artifact import ArtifactRef
from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason

__all__ = [
    "BadConfiguration", "BadData", "BadSpec", "NoMeeting", "NotPermitted", "OutOfMemory", "Preempted", "StageFailure",
    "UnstableTraining", "explain", "explain_error", "failure_for",
]  # fmt: skip

log = logging.getLogger(__name__)

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_SPACE = ("os error 28", "os error 122", "os error 27", "PytorchStreamWriter failed", "file write failed")
NO_MEMORY = (
    "can't allocate memory", "Cannot allocate memory", "not enough memory", "out of memory", "os error 12)",
    "failed to map segment",
)  # fmt: skip
REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class StageFailure(Exception):
    """A sentence for people, and what to try."""

    exit_code: ClassVar[int] = ExitCode.INTERNAL
    reason: ClassVar[Reason] = Reason.INTERNAL_ERROR

    def __init__(self, message: str, advice: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.advice = advice
        self.report: ArtifactRef | None = None
        """The full report of this failure, once one was published."""


class BadSpec(StageFailure):
    """The RunFile asks for something impossible."""

    exit_code = ExitCode.BAD_SPEC
    reason = Reason.BAD_SPEC


class UnstableTraining(BadSpec):
    """Loss or gradients are no numbers any more: repeating the same options gives the same end."""


class BadData(StageFailure):
    """The model or the data set is broken or unusable."""

    exit_code = ExitCode.BAD_DATA
    reason = Reason.BAD_DATA


class BadConfiguration(StageFailure):
    """The installation is wrong: no space, an unusable folder."""

    exit_code = ExitCode.BAD_CONFIG
    reason = Reason.BAD_CONFIGURATION


class NotPermitted(StageFailure):
    """The file system refused."""

    exit_code = ExitCode.NOT_PERMITTED
    reason = Reason.NOT_PERMITTED


class NoMeeting(StageFailure):
    """The processes that should train together did not find each other; worth another try, but not for ever."""

    exit_code = ExitCode.UNAVAILABLE
    reason = Reason.DEPENDENCY_UNAVAILABLE


class OutOfMemory(StageFailure):
    """An allocation failed (the kernel's own kill leaves no message; the operator sees that one)."""

    reason = Reason.OUT_OF_MEMORY


class Preempted(BaseException):
    """Stop, keep what allows resuming, exit 75: after SIGTERM, or because a process that trains along is gone.

    Like KeyboardInterrupt, it passes every `except Exception`. Its text says why, unless it was SIGTERM.
    """


def failure_for(reason: str, message: str, advice: tuple[str, ...]) -> StageFailure:
    """The failure that another process has told of."""
    kinds = (BadSpec, BadData, BadConfiguration, NotPermitted, NoMeeting, OutOfMemory)
    kind = next((kind for kind in kinds if kind.reason == reason), StageFailure)
    return kind(message, advice)


def explain(error: Exception) -> StageFailure:
    """The failure that an exception of a library stands for. Its text stays out: it may quote data."""
    known = explain_error(error)
    if known is not None:
        return known
    places = traceback.extract_tb(error.__traceback__)
    for place in places:
        log.error("%s:%s in %s", place.filename, place.lineno, place.name)
    last = places[-1]
    return StageFailure(
        f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}; "
        "the log has the places it came through; report it with the RunFile"
    )


def explain_error(error: Exception) -> StageFailure | None:
    """The failure that an error of the machine stands for, whichever library found it; None for any other error.

    Not only OSError: torch and safetensors tell a full disk and a failed allocation in words of their own.
    """
    words = str(error)
    if "CUDA out of memory" in words:
        return OutOfMemory("the GPU's memory ran out; lower batchSize or maxLength, or use a GPU that has more")
    if isinstance(error, MemoryError) or any(found in words for found in NO_MEMORY):
        return OutOfMemory("memory ran out during the stage; lower batchSize or maxLength, or raise compute.memory")
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_os_error(error)
    if any(found in words for found in NO_SPACE):
        return _explain_os_error(OSError(errno.ENOSPC, "a file could not be written whole"))
    return None


def _explain_os_error(error: OSError) -> StageFailure:
    place = str(error.filename) if error.filename else "working folder"
    what = error.strerror or type(error).__name__
    if error.errno in FULL:
        return BadConfiguration(f"{place}: no space left ({what}); free space or give a larger volume, then run again")
    if error.errno in REFUSED:
        return NotPermitted(f"{place}: access refused ({what}); check the owner and mode of the folder")
    return BadConfiguration(f"{place}: {what}; check that the folder exists and its disk is healthy")
