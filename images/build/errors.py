"""What can keep images from being built. Raised everywhere in this package, caught by its main program."""

from plumbline_api.names import ExitCode

__all__ = ["BuildError"]


class BuildError(Exception):
    """What could not be done, why, and the remedy; `code` is the exit code that fits."""

    def __init__(self, message: str, code: int = ExitCode.INTERNAL) -> None:
        super().__init__(message)
        self.code = code
