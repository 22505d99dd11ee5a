"""Everything that can go wrong in the guard, as one tree.

    GuardError
     +- PolicyError    the guard cannot start: main ends with its exit code
     +- Refused        the client asked for something the guard does not do: an HTTP error
     +- Failed         no answer can be given, through no fault of the client: an HTTP error, or an error event

The server turns the last two into OpenAI's error JSON. No message holds text of a request or an answer.
"""

from plumbline_api.names import ExitCode

__all__ = ["Failed", "GuardError", "PolicyError", "Refused"]


class GuardError(Exception):
    """Base of the tree."""


class PolicyError(GuardError):
    """The policy file cannot be enforced."""

    def __init__(self, message: str, exit_code: int = ExitCode.BAD_SPEC) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Refused(GuardError):
    """The client's request is not acceptable."""

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.kind = "rate_limit_error" if status == 429 else "invalid_request_error"


class Failed(GuardError):
    """No decision or no answer: the engine is away, broke off, or said something that makes no sense."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = None
        self.kind = "server_error"
