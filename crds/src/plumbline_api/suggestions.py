"""The name a person probably meant: nearest valid names, for fields, values, kinds and objects.

Used wherever a message can say "did you mean ...?".
"""

import difflib
from collections.abc import Iterable

__all__ = ["UnknownName", "nearest"]


class UnknownName(ValueError):
    """A name that is none of the known ones; whoever reports it can name the nearest."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(f"{name!r} is not {what}; known are {', '.join(self.known)}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name` (case, `_` and `-` do not count), or None when none is like it."""
    by_shape: dict[str, str] = {}
    for candidate in known:
        by_shape.setdefault(_shape(candidate), candidate)
    found = difflib.get_close_matches(_shape(name), by_shape, n=1, cutoff=0.6)
    return by_shape[found[0]] if found else None


def _shape(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
