"""What ends an evaluation early, each with its reason and exit code.

    EvaluationError
    ├── BadOrders        64  the RunFile or its suite cannot be used
    ├── BadInput         65  data of the evaluation is broken
    ├── WrongSubject     65  the target serves another model than the one named
    ├── Unavailable      69  the target or the store does not answer
    ├── NotPermitted     77  the target refuses our credentials
    ├── BadInstallation  78  something of this program's surroundings is unusable
    ├── JudgeBroken      78  the judge does no better than a constant
    └── Stopped          75  told to stop; a later attempt goes on where this one ended

Raised everywhere in this package, turned into a summary and an exit code by main.py. Messages name the place, the
fact and the remedy, and never hold a prompt or an answer.
"""

from typing import ClassVar

from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason

__all__ = [
    "BadInput", "BadInstallation", "BadOrders", "EvaluationError", "JudgeBroken", "NotPermitted", "Stopped",
    "Unavailable", "WrongSubject",
]  # fmt: skip


class EvaluationError(Exception):
    """The evaluation cannot go on."""

    reason: ClassVar[Reason] = Reason.INTERNAL_ERROR
    exit_code: ClassVar[int] = ExitCode.INTERNAL


class BadOrders(EvaluationError):
    """The RunFile or its suite cannot be used."""

    reason = Reason.BAD_SPEC
    exit_code = ExitCode.BAD_SPEC


class BadInput(EvaluationError):
    """Data of the evaluation is broken."""

    reason = Reason.BAD_DATA
    exit_code = ExitCode.BAD_DATA


class WrongSubject(EvaluationError):
    """The target serves another model than the one that the RunFile names."""

    reason = Reason.DIGEST_MISMATCH
    exit_code = ExitCode.BAD_DATA


class Unavailable(EvaluationError):
    """A service that is needed does not answer."""

    reason = Reason.DEPENDENCY_UNAVAILABLE
    exit_code = ExitCode.UNAVAILABLE


class NotPermitted(EvaluationError):
    """The target does not let us in."""

    reason = Reason.NOT_PERMITTED
    exit_code = ExitCode.NOT_PERMITTED


class BadInstallation(EvaluationError):
    """Something around this program is unusable."""

    reason = Reason.BAD_CONFIGURATION
    exit_code = ExitCode.BAD_CONFIG


class JudgeBroken(EvaluationError):
    """The judge's own labelled answers show that its judgement is worth nothing."""

    reason = Reason.JUDGE_UNRELIABLE
    exit_code = ExitCode.BAD_CONFIG


class Stopped(EvaluationError):
    """Told to stop before the end; what is finished is kept."""

    reason = Reason.PREEMPTED
    exit_code = ExitCode.PREEMPTED
