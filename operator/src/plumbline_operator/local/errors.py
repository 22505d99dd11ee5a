"""What can go wrong with local mode itself, as a tree; raised by the modules here, told to people by the CLI.

LocalError                 the place, the fact, the remedy
|-- StateUnusable          the state directory cannot be read or written (78)
|   |-- NewerState         it was written by a newer plumbline (78)
|   `-- NoSpace            its disk is full (78)
|-- StateBusy              another plumbline works on it (69)
|-- SpecChanged            an immutable object was applied again with another content (64)
|-- ObjectMissing          no object of that kind and name (64)
|-- NotServable            the object cannot be served, because its gate has not let it pass (1)
|-- PortInUse              the guard's port is taken (69)
`-- Interrupted            a signal ended the work; state was kept (75)
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason

__all__ = [
    "Interrupted", "LocalError", "NewerState", "NoSpace", "NotServable", "ObjectMissing", "PortInUse", "SpecChanged",
    "StateBusy", "StateUnusable", "in_plain_words",
]  # fmt: skip

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class LocalError(Exception):
    """The place, the fact, the remedy."""

    exit_code: ClassVar[int] = ExitCode.INTERNAL
    reason: ClassVar[Reason] = Reason.INTERNAL_ERROR

    def __init__(self, place: Path | str, fact: str, remedy: str) -> None:
        super().__init__(f"{place}: {fact}; {remedy}")
        self.place = str(place)
        self.fact = fact
        self.remedy = remedy


class StateUnusable(LocalError):
    """The state directory cannot be read or written."""

    exit_code = ExitCode.BAD_CONFIG
    reason = Reason.BAD_CONFIGURATION


class NewerState(StateUnusable):
    """The state directory was written by a newer plumbline."""


class NoSpace(StateUnusable):
    """The disk of the state directory is full."""


class StateBusy(LocalError):
    """Another plumbline works on the state directory."""

    exit_code = ExitCode.UNAVAILABLE
    reason = Reason.DEPENDENCY_UNAVAILABLE


class SpecChanged(LocalError):
    """An immutable object was applied again with another spec or other input files."""

    exit_code = ExitCode.BAD_SPEC
    reason = Reason.SPEC_CHANGED


class ObjectMissing(LocalError):
    """There is no object of that kind and name."""

    exit_code = ExitCode.BAD_SPEC
    reason = Reason.NOT_FOUND


class NotServable(LocalError):
    """The object is not served: its gate has not let a model pass, or its pod does not come up."""

    exit_code = ExitCode.NOT_PASSED
    reason = Reason.NO_PASSED_SUBJECT


class PortInUse(LocalError):
    """The port that the guard should listen on is taken."""

    exit_code = ExitCode.UNAVAILABLE
    reason = Reason.GUARD_UNAVAILABLE


class Interrupted(LocalError):
    """A signal ended the work; everything that allows going on was kept."""

    exit_code = ExitCode.PREEMPTED
    reason = Reason.PREEMPTED


@contextmanager
def in_plain_words(place: Path) -> Iterator[None]:
    """Turn an OSError about a file of the state directory into the StateUnusable that tells it."""
    try:
        yield
    except OSError as error:
        raise _explain(error, place) from error


def _explain(error: OSError, place: Path) -> StateUnusable:
    what = error.strerror or type(error).__name__
    if error.errno in FULL:
        return NoSpace(place, f"no space left ({what})", "free space, then run again: nothing that was done is lost")
    if error.errno in REFUSED:
        return StateUnusable(place, f"access refused ({what})", "check its owner and mode, or use another --state")
    return StateUnusable(place, what, "check that its disk is healthy, or use another --state")
