"""What is about to be published: the files of a folder, looked over before a byte is copied."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from threading import Lock

from pydantic import ValidationError

from plumbline_api.artifact import File, MediaType
from plumbline_store.errors import SourceUnusable, in_plain_words

__all__ = ["Meter", "SourceFile", "Told", "check_path", "list_source", "visible"]

Told = Callable[[int, int], None]
"""Hears how many bytes have been read or stored, and how many there are in all."""

MOST_FILES = 10_000
CAN_RUN_CODE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
NO_CODE_IN = frozenset({MediaType.MODEL, MediaType.ADAPTER})


@dataclass(frozen=True)
class SourceFile:
    """A file to publish: its path inside the artifact, where it lies, and its stat (to see a change)."""

    path: str
    at: Path
    fingerprint: tuple[int, ...]
    """Device, inode, size, and the times of the last change of content and of status, in nanoseconds."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.fingerprint[2]


class Meter:
    """Opens the files of a source, and tells how much of all of them is done."""

    def __init__(self, files: Sequence[SourceFile], told: Told | None) -> None:
        self._told = told
        self._total = sum(file.size for file in files)
        self._done = 0
        self._lock = Lock()

    @contextmanager
    def open(self, file: SourceFile) -> Iterator[FileIO]:
        """The content of one of the files, unless a link has taken its place."""
        with in_plain_words(file.at):
            handle = os.open(file.at, os.O_RDONLY | os.O_NOFOLLOW)
        with FileIO(handle) as source:
            yield source

    def count(self, amount: int) -> None:
        """So many bytes more are done."""
        if self._told is None:
            return
        with self._lock:
            self._done += amount
            self._told(self._done, self._total)


def visible(path: str) -> bool:
    """Whether no part of a relative path is hidden (.git, .cache ...)."""
    return not any(part.startswith(".") for part in path.split("/"))


def list_source(root: Path, media_type: MediaType, include: Callable[[str], bool]) -> tuple[SourceFile, ...]:
    """The files of a folder that `include` wants (or the one file), sorted by path.

    Raises:
        SourceUnusable: for an absent or empty source, symbolic links, special files, names that do not travel, and
            files in a model that could run code when they are loaded.
    """
    with in_plain_words(root):
        if not root.exists():
            raise SourceUnusable(root, "no such file or folder", "check the path")
        if root.is_dir():
            pairs = [(path, at) for path, at in _walk(root, "") if include(path)]
        else:
            pairs = [(root.name, root.resolve())]
        found = tuple(_look(path, at) for path, at in sorted(pairs))
    if not found:
        raise SourceUnusable(root, "there is no file to publish", "check the path")
    if len(found) > MOST_FILES:
        raise SourceUnusable(root, f"{len(found)} files are too many ({MOST_FILES} at most)", "pack them into fewer")
    for file in found:
        check_path(file.path, file.at, media_type)
    return found


def check_path(path: str, at: Path, media_type: MediaType) -> None:
    """Refuse a path that does not travel, or that has no place in an artifact of this type."""
    if media_type in NO_CODE_IN and path.lower().endswith(CAN_RUN_CODE):
        raise SourceUnusable(
            at,
            "files of this kind can run code when they are loaded, so a model may not hold them",
            "save the weights as .safetensors and remove this file",
        )
    try:
        File(path=path, sha256="0" * 64, size=0)
        path.encode()
    except (ValidationError, UnicodeEncodeError) as error:
        shown = path.encode(errors="backslashreplace").decode()
        remedy = "rename it to a plain relative name (UTF-8, no backslash, at most 512 characters)"
        raise SourceUnusable(at.parent, f"the name {shown or repr('')} does not travel", remedy) from error


def _walk(folder: Path, inside: str) -> Iterator[tuple[str, Path]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = inside + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), path + "/")
            else:
                yield path, Path(entry.path)


def _look(path: str, at: Path) -> SourceFile:
    status = at.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise SourceUnusable(at, "a symbolic link cannot be published", "put the file itself in its place")
    if not stat.S_ISREG(status.st_mode):
        raise SourceUnusable(at, "not a regular file (a pipe, socket or device)", "remove it from the folder")
    fingerprint = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return SourceFile(path, at, fingerprint)
