"""A folder as the back end of a store (`file://`): on a disk, a volume or a share.

Files are copied and hashed into a writer's scratch folder, in one pass, and get their names all at once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from plumbline_store import keys
from plumbline_store.attempts import attempt
from plumbline_store.backend import Absent, Content, Entry, Readable, Stage
from plumbline_store.durable import copy_hashed, give_name, open_to_all_of, replace_with
from plumbline_store.errors import UnsupportedStore, in_plain_words

__all__ = ["Folder", "folder_of"]

SCRATCH: Final = "tmp"


def folder_of(uri: str) -> Path:
    """The folder of a `file://` address.

    Raises:
        UnsupportedStore: for any other address.
    """
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.is_absolute():
        raise UnsupportedStore(uri, "this is no address of a folder", "write file:///absolute/path")
    return path


@dataclass(frozen=True)
class _StagedFile:
    sha256: str
    size: int
    at: Path
    root: Path

    def give(self, key: str) -> bool:
        return give_name(self.at, self.root, key)

    def replace(self, key: str) -> None:
        replace_with(self.at, self.root, key)


@dataclass(frozen=True)
class Folder:
    """The back end; the folder is made by the first write."""

    root: Path
    parallel: int = 1
    """A disk is fastest with one file after the other."""

    def place(self, key: str) -> str:
        """The path."""
        return str(self.root / key)

    def look(self, key: str) -> Entry | None:
        """The size and the time of the last change."""
        path = self.root / key
        with in_plain_words(path):
            try:
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return Entry(found.st_size, found.st_mtime_ns)

    @contextmanager
    def read(self, key: str) -> Iterator[Readable]:
        """The file's bytes."""
        path = self.root / key
        with in_plain_words(path):
            try:
                source = path.open("rb")
            except (FileNotFoundError, NotADirectoryError) as error:
                raise Absent(key) from error
        with source:
            yield source

    @contextmanager
    def attempt(self) -> Iterator[Stage]:
        """A scratch folder that is gone afterwards."""
        with in_plain_words(self.root), attempt(self._scratch(), "attempt-") as scratch:
            numbers = count()

            def stage(content: Content) -> _StagedFile:
                target = scratch / f"file-{next(numbers)}"
                with content.open() as source:
                    sha256, size = copy_hashed(source, target, content.arrived)
                return _StagedFile(sha256, size, target, self.root)

            yield stage

    def _scratch(self) -> Path:
        folder = self.root / SCRATCH
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            open_to_all_of(self.root, folder)
        return folder

    def set_aside(self, key: str) -> None:
        """Rename it."""
        with suppress(OSError):
            (self.root / key).replace(self.root / keys.aside(key))

    def names(self, prefix: str) -> Iterator[str]:
        """Files, but for the scratch of writers."""
        start = self.root / prefix if prefix.endswith("/") else self.root
        for folder, inner, files in os.walk(start):
            inner[:] = sorted(name for name in inner if Path(folder, name) != self.root / SCRATCH)
            for name in sorted(files):
                key = str(Path(folder, name).relative_to(self.root))
                if key.startswith(prefix):
                    yield key

    def remove(self, key: str) -> None:
        """Delete the file, and its folder where that is empty then."""
        path = self.root / key
        with in_plain_words(path):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()
            path.parent.parent.rmdir()
