"""Files that survive a crash: written beside their place, synced, then given their name in one step.

Used by the back end that is a folder; knows nothing of artifacts.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from plumbline_store.backend import Readable
from plumbline_store.hashing import drain

__all__ = ["copy_hashed", "give_name", "open_to_all_of", "replace_with", "sync_folder"]

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


def give_name(staged: Path, root: Path, key: str) -> bool:
    """Make a staged file visible under its name unless there is one already; whether this call did it."""
    final = root / key
    _make_folder(final.parent, root, staged.parent)
    try:
        os.link(staged, final)
    except FileExistsError:
        return False
    staged.unlink()
    sync_folder(final.parent)
    return True


def replace_with(staged: Path, root: Path, key: str) -> None:
    """Put a staged file in the place of another in one step."""
    final = root / key
    _make_folder(final.parent, root, staged.parent)
    staged.replace(final)
    sync_folder(final.parent)


def open_to_all_of(root: Path, folder: Path) -> None:
    """Let those write in a folder who may write in the root: people and pods share a store under several accounts."""
    mode = stat.S_IMODE(root.stat().st_mode)
    if stat.S_IMODE(folder.stat().st_mode) != mode:
        folder.chmod(mode)


def _make_folder(folder: Path, root: Path, scratch: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        # Made elsewhere, so that nobody finds it before they may write in it.
        new = Path(tempfile.mkdtemp(dir=scratch))
        open_to_all_of(root, new)
        try:
            new.rename(one)
        except OSError as error:  # another writer was first, and has put something in it
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            new.rmdir()
        sync_folder(one.parent)


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
