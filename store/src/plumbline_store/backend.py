"""What a store stands on: seven verbs on named contents, which a folder and a bucket have both.

Implemented by `folder` and `bucket`, used by `store`. A back end knows names and bytes; what they mean, when they are
verified and what a damaged one is worth is the store's business.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol, Self

__all__ = ["Absent", "Backend", "Content", "Entry", "Readable", "Stage", "Staged"]


class Absent(Exception):
    """There is nothing under this name."""


class Readable(Protocol):
    """Bytes that come one after the other."""

    def read(self, size: int, /) -> bytes:
        """At most so many of the next bytes; none at the end."""


@dataclass(frozen=True)
class Entry:
    """What can be known of content without reading it."""

    size: int
    """Bytes."""
    written_ns: int
    """When it was written at the earliest, in nanoseconds since 1970."""


def _nobody(_: int) -> None:
    """Hear nothing."""


@dataclass(frozen=True)
class Content:
    """Bytes that are to be kept; they may be read more than once."""

    name: str
    """What people know it by."""
    open: Callable[[], AbstractContextManager[Readable]]
    arrived: Callable[[int], None] = _nobody
    """Hears of every so many bytes that are on their way into the store, or found there."""

    @classmethod
    def of(cls, name: str, data: bytes) -> Self:
        """Bytes that are at hand."""
        return cls(name, lambda: nullcontext(BytesIO(data)))


class Staged(Protocol):
    """Content whose sha256 is known, and that nobody can see yet."""

    @property
    def sha256(self) -> str:
        """Hexadecimal."""

    @property
    def size(self) -> int:
        """Bytes."""

    def give(self, key: str) -> bool:
        """Make it visible under a name, unless there is something under it already; whether this call did it."""

    def replace(self, key: str) -> None:
        """Put it in the place of something else in one step."""


Stage = Callable[[Content], Staged]
"""Takes content up; several may be taken up at a time."""


class Backend(Protocol):
    """Contents by name (a key: parts with slashes between them); any number of processes may use one at once."""

    @property
    def parallel(self) -> int:
        """How many contents are best read or written at a time."""

    def place(self, key: str) -> str:
        """What people know the place of a content by."""

    def look(self, key: str) -> Entry | None:
        """What can be known without reading; None where there is nothing."""

    def read(self, key: str) -> AbstractContextManager[Readable]:
        """The content; raises Absent, here or while it is read."""

    def attempt(self) -> AbstractContextManager[Stage]:
        """Write; what has no name at the end is gone, and after a crash as soon as somebody else writes."""

    def set_aside(self, key: str) -> None:
        """Take damaged content out of the way, to `keys.aside`; as far as that is permitted."""

    def names(self, prefix: str) -> Iterator[str]:
        """The keys that begin with this, in order, whoever made them; what has no name yet is left out."""

    def remove(self, key: str) -> None:
        """Let nothing be under this name."""
