"""Temporary folders that a killed process does not leave for good: the next one removes them."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["owned_folder"]


@contextmanager
def owned_folder(prefix: str) -> Iterator[Path]:
    """A new folder, removed afterwards; first, those of the same prefix whose owners are gone are removed."""
    _sweep(prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    owned = _own(folder)
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(owned)


def _own(folder: Path) -> int:
    """Say that somebody lives here: a lock that goes with the process."""
    made = folder / "owner.new"
    owned = os.open(made, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(owned, fcntl.LOCK_EX)
    # Seen by others only once it is locked.
    made.rename(folder / "owner")
    return owned


def _sweep(prefix: str) -> None:
    for owner in Path(tempfile.gettempdir()).glob(f"{prefix}*/owner"):
        try:
            handle = os.open(owner, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(owner.parent)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)


def _remove(folder: Path) -> None:
    """Delete it, the owner's file last: without that, nobody would go on where we are interrupted."""
    for entry in _folders(folder):
        shutil.rmtree(entry, ignore_errors=True)
    if not _folders(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in folder.glob("*") if entry.is_dir() and not entry.is_symlink()]
