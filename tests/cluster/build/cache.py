"""The user's cache: one folder per thing made, made once, complete or not there.

Whoever makes something does so in a folder beside its place, under a lock, and renames it; a reader needs no lock.
"""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from plumbline_api.names import ExitCode

__all__ = ["BuildError", "cache_root", "make_all", "need_space", "publish", "remove", "say"]

MEGABYTE = 1_000_000


class BuildError(Exception):
    """What could not be made, why, and what to do about it; `code` is the exit code that fits."""

    def __init__(self, message: str, code: int = ExitCode.INTERNAL) -> None:
        super().__init__(message)
        self.code = code


def say(text: str) -> None:
    """One line of progress for a person, at once."""
    sys.stderr.write(f"cluster: {text}\n")
    sys.stderr.flush()


def cache_root(environment: Mapping[str, str]) -> Path:
    """The folder of everything made here; a relative XDG_CACHE_HOME is ignored, as its specification says."""
    named = Path(environment.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "plumbline"


def publish(place: Path, make: Callable[[Path], None]) -> Path:
    """The folder `place`, filled by `make` unless it is there; callers at the same time wait for the first."""
    if place.is_dir():
        return place
    with _alone(place):
        if place.is_dir():
            return place
        # Left by a process that was killed: whoever holds the lock is the only one who makes.
        for left in place.parent.glob(f".{place.name}.*"):
            remove(left)
        beside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        try:
            make(beside)
            beside.chmod(0o755)
            beside.rename(place)
        except BaseException:
            remove(beside)
            raise
    return place


def remove(folder: Path) -> None:
    """Delete a folder, and do not fail where that cannot be done: the next caller tries again."""
    shutil.rmtree(folder, ignore_errors=True)


def make_all(make: Callable[[], int | None]) -> int:
    """Make things, and give the exit code of a program that has nothing else to do; what could not be made is said."""
    try:
        return make() or ExitCode.OK
    except BuildError as error:
        say(str(error))
        return error.code
    except KeyboardInterrupt:
        return 130


def need_space(folder: Path, megabytes: int, remedy: str) -> None:
    """Refuse to begin what cannot be finished."""
    existing = next(parent for parent in [folder, *folder.parents] if parent.exists())
    free = shutil.disk_usage(existing).free // MEGABYTE
    if free < megabytes:
        raise BuildError(f"needs {megabytes} MB in {folder}, has {free} MB; {remedy}", ExitCode.BAD_CONFIG)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(place.with_name(f"{place.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        remedy = "name another folder: XDG_CACHE_HOME=/path make test-cluster"
        raise BuildError(f"cannot write to {place.parent}: {error.strerror}; {remedy}", ExitCode.BAD_CONFIG) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is making {place.name}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
