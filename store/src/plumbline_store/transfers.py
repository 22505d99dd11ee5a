"""Large contents in parts, some of them on their way at a time. Used by `bucket`; knows nothing of S3.

What is held in memory is bounded by the number of parts on their way, whatever the size of the whole.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from plumbline_store.backend import Readable
from plumbline_store.hashing import CHUNK

__all__ = ["AHEAD", "PART", "Joined", "in_order", "part_size", "parts_of"]

PART: Final = 8 * CHUNK
"""Bytes of a part, unless the whole has too many; what is smaller goes in one piece."""
AHEAD: Final = 3
"""Parts of one content that are on their way at a time."""
MOST_PARTS: Final = 9_000
"""S3 takes 10,000."""

Item = TypeVar("Item")
Made = TypeVar("Made")


def part_size(size: int) -> int:
    """Bytes of each part of a content of this size."""
    return max(PART, -(-size // MOST_PARTS))


def parts_of(source: Readable, size: int, hear: Callable[[bytes], None]) -> Iterator[bytes]:
    """What is left in a stream, in parts of this size; the last is shorter. Every chunk is heard of as it is read."""
    while part := _read_part(source, size, hear):
        yield part


def _read_part(source: Readable, size: int, hear: Callable[[bytes], None]) -> bytes:
    data = bytearray()
    while len(data) < size and (chunk := source.read(min(CHUNK, size - len(data)))):
        hear(chunk)
        data += chunk
    return bytes(data)


def in_order(do: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """What is made of each, in the order of the items, a few at a time; the first failure ends it."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(AHEAD, "parts") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(do, item))
                if len(waiting) == AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Joined:
    """Parts that come one after the other, as a stream."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._left = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """At most so many of the next bytes; none at the end."""
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return b""
            self._left = memoryview(part)
        found, self._left = self._left[:size], self._left[size:]
        return bytes(found)
