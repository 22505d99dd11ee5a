"""What ends a command with a sentence and an exit code of its own; raised by the commands, told by `main`."""

__all__ = ["CommandError"]


class CommandError(Exception):
    """The place, the fact, the remedy."""

    def __init__(self, place: str, fact: str, remedy: str, *, exit_code: int) -> None:
        """Tell what stopped the command.

        Args:
            place: What it is about: a file and line, an object, an option.
            fact: What is wrong.
            remedy: What to do.
            exit_code: One of ExitCode.
        """
        super().__init__(f"{place}: {fact}; {remedy}")
        self.exit_code = exit_code
