"""What keeps a bundle from being used; raised everywhere in this package, told by the command line."""

from collections.abc import Sequence

__all__ = ["BundleError", "listed"]

_SHOWN = 5


class BundleError(Exception):
    """The place, the fact, the remedy."""

    def __init__(self, place: object, fact: str, remedy: str, *, exit_code: int) -> None:
        """Tell what is wrong.

        Args:
            place: A file of the bundle, a registry, an option.
            fact: What is wrong with it.
            remedy: What to do.
            exit_code: One of ExitCode.
        """
        super().__init__(f"{place}: {fact}; {remedy}")
        self.exit_code = exit_code


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
