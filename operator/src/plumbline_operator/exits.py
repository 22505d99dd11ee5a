"""What the exit codes of our programs mean to whoever ran them: the Jobs that are planned, local mode, the cluster."""

from collections.abc import Mapping
from typing import Final

from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason

__all__ = ["FATAL_EXIT_CODES", "reason_of_exit"]

FATAL_EXIT_CODES: Final = frozenset({ExitCode.BAD_SPEC, ExitCode.BAD_DATA, ExitCode.NOT_PERMITTED, ExitCode.BAD_CONFIG})
"""Nothing gets better by trying again."""

_REASONS: Final[Mapping[int, Reason]] = {
    ExitCode.BAD_SPEC: Reason.BAD_SPEC,
    ExitCode.BAD_DATA: Reason.BAD_DATA,
    ExitCode.UNAVAILABLE: Reason.DEPENDENCY_UNAVAILABLE,
    ExitCode.PREEMPTED: Reason.PREEMPTED,
    ExitCode.NOT_PERMITTED: Reason.NOT_PERMITTED,
    ExitCode.BAD_CONFIG: Reason.BAD_CONFIGURATION,
}


def reason_of_exit(code: int) -> Reason:
    """The reason that an exit code stands for; InternalError for all that none of our programs gives on purpose."""
    return _REASONS.get(code, Reason.INTERNAL_ERROR)
