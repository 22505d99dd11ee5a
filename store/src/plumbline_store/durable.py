"""Files that survive a crash: written beside their place, synced, then given their name in one step.

Used by the back end that is a folder; knows nothing of artifacts.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from plumbline_store.backend import Readable
from plumbline_store.hashing import drain

__all__ = ["copy_hashed", "give_name", "replace_with", "sync_folder"]

READ_ONLY = 0o444


def copy_hashed(source: Readable, target: Path, arrived: Callable[[int], None]) -> tuple[str, int]:
    """Copy into a new, synced, read-only file in one pass; sha256 (hex) and size of exactly what was written."""

    def write(chunk: bytes) -> None:
        out.write(chunk)
        arrived(len(chunk))

    with target.open("xb") as out:
        found = drain(source, write)
        _finish(out)
    return found


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
