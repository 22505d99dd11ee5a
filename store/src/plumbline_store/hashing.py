"""The sha256 of what passes by. Used by the store and by both of its back ends."""

import hashlib
from collections.abc import Callable
from typing import Final

from plumbline_store.backend import Readable

__all__ = ["CHUNK", "drain", "hash_stream"]

CHUNK: Final = 1 << 20
"""Bytes that are read at a time."""


def hash_stream(source: Readable) -> tuple[str, int]:
    """The sha256 (hex) and size of what is left in a stream."""
    return drain(source, _forget)


def drain(source: Readable, out: Callable[[bytes], object]) -> tuple[str, int]:
    """Hand on what is left in a stream, hashing what passes; the sha256 (hex) and size of it."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
        out(chunk)
    return digest.hexdigest(), size


def _forget(_: bytes) -> None:
    """Nobody wants the bytes."""
