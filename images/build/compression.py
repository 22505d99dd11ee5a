"""Gzip on all cores, with bytes that depend on the content alone, and not on the time, the cores or the builder."""

import hashlib
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

__all__ = ["compress"]

_LEVEL: Final = 6
_CHUNK: Final = 4 << 20
_WINDOW: Final = 32 << 10
"""How far back deflate looks: each chunk begins with the end of the one before as its dictionary."""
_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Deflate, no name, no time, no operating system."""


def compress(source: Path, target: Path) -> tuple[str, int]:
    """Write `source` into `target`, compressed; gives digest and size of that."""
    digest, size, check, length = hashlib.sha256(), 0, 0, source.stat().st_size
    with target.open("wb") as output:
        for plain, packed in _packed(source, length):
            check = zlib.crc32(plain, check)
            for part in (packed,) if size else (_HEADER, packed):
                size += output.write(part)
                digest.update(part)
        trailer = struct.pack("<II", check, length & 0xFFFFFFFF)
        size += output.write(trailer)
        digest.update(trailer)
    return f"sha256:{digest.hexdigest()}", size


def _packed(source: Path, length: int) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a file in their order, each with what it becomes, a few of them at work at a time."""
    threads = os.cpu_count() or 1
    waiting: deque[tuple[bytes, Future[bytes]]] = deque()
    with source.open("rb") as file, ThreadPoolExecutor(threads) as pool:
        before, place = b"", 0
        while True:
            plain = file.read(_CHUNK)
            place += len(plain)
            last = place >= length
            waiting.append((plain, pool.submit(_deflate, plain, before, last=last)))
            before = plain[-_WINDOW:]
            if last:
                break
            if len(waiting) > 2 * threads:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def _deflate(plain: bytes, before: bytes, *, last: bool) -> bytes:
    """A part of a deflate stream that ends at a whole byte, so that the parts make one stream."""
    if before:
        engine = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=before)
    else:
        engine = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return engine.compress(plain) + engine.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
