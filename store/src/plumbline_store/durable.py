"""Files that survive a crash: written beside their place, synced, then given their name in one step.

Used by everything that writes into a store; knows nothing of artifacts.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "aside", "copy_hashed", "drain", "give_name", "hash_stream", "replace_with", "set_aside", "sync_folder",
    "write_new",
]  # fmt: skip

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
    _make_folder(final.parent)
    try:
        os.link(staged, final)
    except FileExistsError:
        return False
    staged.unlink()
    sync_folder(final.parent)
    return True


def replace_with(staged: Path, final: Path) -> None:
    """Put a staged file in the place of another in one step."""
    _make_folder(final.parent)
    staged.replace(final)
    sync_folder(final.parent)


def set_aside(damaged: Path) -> None:
    """Take a damaged file out of the way, so that the same content can be published again; as far as permitted."""
    with suppress(OSError):
        damaged.replace(aside(damaged))


def aside(path: Path) -> Path:
    """Where a damaged file is kept for whoever wants to look at it."""
    return path.with_name(path.name + ".damaged")


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


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
