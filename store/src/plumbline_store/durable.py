"""Files that survive a crash: written beside their place, synced, then given their name in one step.

Used by everything that writes into a store; knows nothing of artifacts.
"""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

__all__ = ["copy_hashed", "drain", "give_name", "hash_stream", "replace_with", "sync_folder", "write_new"]

CHUNK = 1 << 20
READ_ONLY = 0o444


def hash_stream(source: BinaryIO) -> tuple[str, int]:
    """The sha256 (hex) and size of what is left in a stream."""
    return drain(source, None)


def drain(source: BinaryIO, out: BinaryIO | None) -> tuple[str, int]:
    """Copy what is left in a stream, hashing what passes; the sha256 (hex) and size of it."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
        if out is not None:
            out.write(chunk)
    return digest.hexdigest(), size


def copy_hashed(source: BinaryIO, target: Path) -> tuple[str, int]:
    """Copy into a new, synced, read-only file in one pass; sha256 (hex) and size of exactly what was written."""
    with target.open("xb") as out:
        found = drain(source, out)
        _finish(out)
    return found


def write_new(target: Path, data: bytes) -> None:
    """Write a new, synced, read-only file; raises FileExistsError."""
    with target.open("xb") as out:
        out.write(data)
        _finish(out)


def give_name(staged: Path, final: Path) -> bool:
    """Make a staged file visible under its name unless there is one already; whether this call did it."""
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(staged, final)
    except FileExistsError:
        return False
    staged.unlink()
    sync_folder(final.parent)
    return True


def replace_with(staged: Path, final: Path) -> None:
    """Put a staged file in the place of another in one step."""
    final.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(final)
    sync_folder(final.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _finish(out: BinaryIO) -> None:
    out.flush()
    os.fchmod(out.fileno(), READ_ONLY)
    os.fsync(out.fileno())
