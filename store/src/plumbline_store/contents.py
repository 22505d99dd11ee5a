"""Verified contents over a back end: nothing is handed on as good that has not the sha256 it is known by.

Used by `store` alone. Here is also what makes an empty place a store.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from plumbline_api.artifact import File
from plumbline_store import keys
from plumbline_store.attempts import attempt
from plumbline_store.backend import Absent, Backend, Content, Entry, Stage, Staged
from plumbline_store.errors import AGAIN, ArtifactMissing, DigestMismatch, NewerLayout, StoreError, in_plain_words
from plumbline_store.hashing import drain, hash_stream

__all__ = ["Contents"]

VERSION: Final = 1
"""Of the arrangement that `keys` describes."""

Item = TypeVar("Item")
Made = TypeVar("Made")


def _address(file: File) -> str:
    return keys.blob(file.sha256)


class Contents:
    """What lies in the store at an address."""

    def __init__(self, uri: str, backend: Backend) -> None:
        self._uri = uri
        self._backend = backend

    def exist(self) -> bool:
        """Whether anything was ever written here.

        Raises:
            NewerLayout: when it is not for this version to read.
            StoreError: where that cannot be seen.
        """
        text = self.read_small(keys.LAYOUT)
        if text is None:
            return False
        mark = self._backend.place(keys.LAYOUT)
        try:
            version = json.loads(text)["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(mark, "not a layout file", 'restore {"version": 1} or use another place') from error
        if version != VERSION:
            remedy = "update Plumbline or use another place; nothing was changed"
            raise NewerLayout(mark, f"the store has layout {version}, this version reads {VERSION}", remedy)
        return True

    def place(self, key: str) -> str:
        """What people know the place of a content by."""
        return self._backend.place(key)

    def look(self, key: str) -> Entry | None:
        """What is known of it without reading."""
        return self._backend.look(key)

    def names(self, prefix: str) -> Iterator[str]:
        """The keys that begin with this."""
        return self._backend.names(prefix)

    def remove(self, key: str) -> None:
        """Let nothing be under this name."""
        self._backend.remove(key)

    def has(self, file: File) -> bool:
        """Whether a file of an artifact is there at its size (content is verified when read)."""
        entry = self._backend.look(_address(file))
        return entry is not None and entry.size == file.size

    @contextmanager
    def writing(self) -> Iterator[Stage]:
        """Take up what is to be written; the place becomes a store first, unless it is one."""
        empty = not self.exist() and self._is_free()
        with self._backend.attempt() as stage:
            if empty:
                stage(Content.of(keys.LAYOUT, json.dumps({"version": VERSION}).encode() + b"\n")).give(keys.LAYOUT)
            yield stage

    def _is_free(self) -> bool:
        """Whether there is nothing here; a store that somebody has begun meanwhile is not free, and no offence."""
        other = next(self._backend.names(""), None)
        if other is not None and not self.exist():
            raise StoreError(
                self._uri, f"this is no store, but it holds {other}", "choose an empty place for the store"
            )
        return other is None

    def put(self, staged: Staged, key: str) -> None:
        """Name staged content; if the name is taken by damaged content, heal it."""
        if staged.give(key):
            return
        try:
            with self._backend.read(key) as there:
                found, _ = hash_stream(there)
        except Absent:
            found = ""
        if found != staged.sha256:
            staged.replace(key)

    def pass_on(self, file: File, out: Callable[[bytes], object], key: str = "") -> None:
        """Read a file of an artifact, or of what lies elsewhere; what was handed on is good only when this returns."""
        key = key or _address(file)
        place = self._backend.place(key)
        try:
            with self._backend.read(key) as blob:
                found, _ = drain(blob, out)
        except Absent as error:
            damaged = self._backend.look(keys.aside(key)) is not None
            what = "was damaged and set aside" if damaged else "is gone from the store"
            raise ArtifactMissing(place, f"a file of the artifact {what}", AGAIN) from error
        if found != file.sha256:
            self._backend.set_aside(key)
            raise DigestMismatch(place, file.sha256, found)

    def lay_out(
        self, files: Iterable[File], into: Path, scratch_name: str, key_of: Callable[[File], str] = _address
    ) -> None:
        """Copy files of an artifact, or what lies elsewhere, verified, into a new folder that appears when complete."""
        files = tuple(files)

        def copy_out(file: File) -> None:
            with (whole / file.path).open("xb") as copy:
                self.pass_on(file, copy.write, key_of(file))

        with in_plain_words(into), attempt(into.parent, scratch_name) as scratch:
            whole = scratch / "files"
            for file in files:
                (whole / file.path).parent.mkdir(parents=True, exist_ok=True)
            self.each(copy_out, files)
            whole.rename(into)

    def read_small(self, key: str) -> bytes | None:
        """A document of the store's own, whole; None where there is none."""
        data = bytearray()
        try:
            with self._backend.read(key) as source:
                drain(source, data.extend)
        except Absent:
            return None
        return bytes(data)

    def each(self, do: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
        """Do the same with each, as many at a time as the back end likes; the first failure ends it."""
        if self._backend.parallel == 1:
            return [do(item) for item in items]
        with ThreadPoolExecutor(self._backend.parallel, "store") as pool:
            return list(pool.map(do, items))
