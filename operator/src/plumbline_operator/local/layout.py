"""Where everything lies in a state directory, who may write in it, and how files in it are written.

Every other module here asks this one for paths. A file appears whole or not at all: written beside its place,
synced, then renamed.
"""

import asyncio
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline_operator.local.durable import write_whole
from plumbline_operator.local.errors import NewerState, StateBusy, StateUnusable, in_plain_words
from plumbline_operator.observed import Key

__all__ = ["LAYOUT", "Layout", "StateLock", "open_layout", "read_json", "remove_leftovers", "write_atomically"]

LAYOUT = 1
"""Version of the layout; a program refuses a state directory with a higher one."""


@dataclass(frozen=True)
class Layout:
    """The paths of one state directory."""

    root: Path

    @property
    def version(self) -> Path:
        """Holds the layout's version."""
        return self.root / "version"

    @property
    def lock(self) -> Path:
        """Held (flock) by the one plumbline that may write; its content is that program's process id."""
        return self.root / "lock"

    @property
    def store(self) -> Path:
        """The artifact store."""
        return self.root / "store"

    @property
    def objects(self) -> Path:
        """The objects that were applied."""
        return self.root / "objects"

    @property
    def jobs(self) -> Path:
        """One folder per namespace, in it one per Job."""
        return self.root / "jobs"

    @property
    def deployments(self) -> Path:
        """One folder per namespace, in it one per Deployment."""
        return self.root / "deployments"

    def object(self, kind: str, namespace: str, name: str) -> Path:
        """The record of an object."""
        return self.objects / kind / namespace / f"{name}.json"

    def status(self, key: Key) -> Path:
        """The status of an object."""
        return self.root / "status" / key.kind.value / key.namespace / f"{key.name}.json"

    def events(self, key: Key) -> Path:
        """The events of an object, one JSON line each."""
        return self.root / "events" / f"{key.kind.value}.{key.namespace}.{key.name}.jsonl"

    def job(self, namespace: str, name: str) -> Path:
        """The folder of a Job."""
        return self.jobs / namespace / name

    def deployment(self, namespace: str, name: str) -> Path:
        """The folder of a Deployment."""
        return self.deployments / namespace / name


def open_layout(root: Path, *, create: bool) -> Layout:
    """The layout of a state directory, made where it is new and may be; refuses one of a newer program."""
    layout = Layout(Path(os.path.abspath(root)))
    if not layout.version.exists():
        if not create:
            remedy = "run `plumbline run -f FILE` first, or name the folder with --state"
            raise StateUnusable(layout.root, "there is no state directory here", remedy)
        _create(layout)
    with in_plain_words(layout.version):
        text = layout.version.read_text(encoding="utf-8").strip()
    if not text.isdigit():
        raise StateUnusable(layout.version, "does not hold a layout version", "use another --state")
    if int(text) > LAYOUT:
        raise NewerState(
            f"state directory {layout.root}",
            f"was written by a newer plumbline (layout {text}, this program knows {LAYOUT})",
            "use that version or another --state",
        )
    return layout


def _create(layout: Layout) -> None:
    with in_plain_words(layout.root):
        if layout.root.is_dir() and any(map(_foreign, layout.root.iterdir())):
            remedy = "name an empty or new folder with --state"
            raise StateUnusable(layout.root, "is neither empty nor a state directory", remedy)
        layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        layout.root.chmod(0o700)
    write_atomically(layout.version, f"{LAYOUT}\n")


def _foreign(path: Path) -> bool:
    """Whether a file is none that a creation cut short leaves behind."""
    return path.name != "lock" and not path.name.startswith(".version.")


class StateLock:
    """The right to write in a state directory; one process has it at a time, and the kernel takes it back."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.lock
        self._root = layout.root
        with in_plain_words(self._path):
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    async def acquire(self, wait: float | None, on_wait: Callable[[str], None], *, poll: float = 0.1) -> None:
        """Take it; where another process holds it, wait for at most `wait` seconds (None: for ever), then refuse.

        `on_wait` is told once what is waited for.
        """
        until = None if wait is None else time.monotonic() + wait
        told = False
        while not self._try():
            if until is not None and time.monotonic() >= until:
                remedy = "wait for it (--wait), end it, or use another --state"
                raise StateBusy(f"state directory {self._root}", self._holder(), remedy)
            if not told:
                on_wait(f"waiting: state directory {self._root} {self._holder()}")
                told = True
            await asyncio.sleep(poll)

    def release(self) -> None:
        """Give it back."""
        os.close(self._handle)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with in_plain_words(self._path):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)
        return True

    def _holder(self) -> str:
        pid = os.pread(self._handle, 32, 0).decode(errors="replace").strip()
        return f"is in use by another plumbline (process {pid or 'unknown'})"


def remove_leftovers(layout: Layout) -> None:
    """Remove what writes and removals that a crash cut short have left; only the holder of the lock may."""
    places = ("objects/*/*/.*", "status/*/*/.*", "events/.*", "jobs/*/.*", "jobs/*/*/.*", "deployments/*/.*")
    for place in places:
        for path in layout.root.glob(place):
            with in_plain_words(path):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def write_atomically(path: Path, text: str) -> None:
    """Give a file new content, whole or not at all, and make it durable."""
    with in_plain_words(path):
        write_whole(path, text)


def read_json(path: Path) -> Any:
    """The JSON content of a file, or None where there is no such file."""
    with in_plain_words(path):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise StateUnusable(path, "is damaged (not JSON)", "delete the object it belongs to, then run again") from error
