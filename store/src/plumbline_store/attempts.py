"""Scratch folders of writers. One belongs to one living writer; those of dead writers are removed by the next.

A writer holds a lock (flock) on its folder, which the kernel drops when the process ends in any way.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["attempt", "remove_dead"]


@contextmanager
def attempt(parent: Path, prefix: str) -> Iterator[Path]:
    """A fresh folder in `parent` that is gone afterwards, and after a crash as soon as somebody else writes here."""
    parent.mkdir(parents=True, exist_ok=True)
    remove_dead(parent, prefix)
    folder, lock = _make(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_dead(parent: Path, prefix: str) -> None:
    """Remove the folders of writers that are no more."""
    for folder in parent.iterdir():
        if not folder.name.startswith(prefix):
            continue
        with suppress(OSError):  # it is in use, or another writer has just removed it
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _make(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with suppress(OSError):  # somebody took the folder for a dead writer's before it was locked: make another
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if folder.exists():
                    return folder, lock
            except OSError:
                os.close(lock)
                raise
            os.close(lock)
