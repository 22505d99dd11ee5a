"""A prefix of a bucket as the back end of a store (`s3://`).

Content is hashed first, so that what the bucket has already is not sent. Small content goes in one request, which
takes effect only where there is nothing. Large content goes in parts that nobody can see; they become one object when
all are there and have the sha256 they must have. So a writer's unfinished uploads are its attempt, and there is nothing
to be moved at its end.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from plumbline_store import keys
from plumbline_store.backend import Content, Entry, Readable, Stage
from plumbline_store.errors import SourceUnusable, StoreError, UnsupportedStore
from plumbline_store.hashing import hash_stream
from plumbline_store.objects import Objects
from plumbline_store.s3client import make_client
from plumbline_store.transfers import PART, Joined, part_size, parts_of

__all__ = ["Bucket", "open_bucket"]

ADDRESS: Final = re.compile(
    r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,254})(?P<prefix>(?:/[A-Za-z0-9!_.*'()=@+-]+)*)/?"
)
"""A key may hold nearly any letter; those that have a meaning in addresses are left out."""
SMALL: Final = 64 * 1024
"""It costs less to send this than to ask whether it is there."""


def open_bucket(uri: str) -> "Bucket":
    """The back end at an `s3://` address.

    Raises:
        UnsupportedStore: for any other address.
        StoreError: where the client's settings are no good.
    """
    found = ADDRESS.fullmatch(uri)
    if found is None or {".", ".."} & set(uri.split("/")):
        raise UnsupportedStore(uri, "this is no address of a bucket", "write s3://bucket/prefix")
    prefix = found["prefix"].removeprefix("/")
    return Bucket(Objects(make_client(uri), found["bucket"], prefix and f"{prefix}/"))


@dataclass(frozen=True)
class _Hashed:
    """Content that has not been sent, and what it will be known by."""

    sha256: str
    size: int
    content: Content
    objects: Objects

    def give(self, key: str) -> bool:
        if self.size > SMALL and self.objects.look(key) is not None:
            self.content.arrived(self.size)
            return False
        if self.size > PART:
            self._send_parts(key)
            return True
        return self.objects.create(key, self._whole())

    def replace(self, key: str) -> None:
        if self.size > PART:
            self._send_parts(key)
        else:
            self.objects.overwrite(key, self._whole())

    def _whole(self) -> bytes:
        return b"".join(self._parts())

    def _send_parts(self, key: str) -> None:
        with self.objects.upload(key) as send:
            send(self._parts())

    def _parts(self) -> Iterator[bytes]:
        """What is there now, as long as it is what was hashed."""
        digest = hashlib.sha256()

        def hear(chunk: bytes) -> None:
            digest.update(chunk)
            self.content.arrived(len(chunk))

        with self.content.open() as source:
            yield from parts_of(source, part_size(self.size), hear)
        if digest.hexdigest() != self.sha256:
            raise SourceUnusable(self.content.name, "it changed while it was being published", "publish it again")


@dataclass(frozen=True)
class Bucket:
    """The back end."""

    objects: Objects
    parallel: int = 4
    """A server answers several requests as fast as one."""

    def place(self, key: str) -> str:
        """The address of the object."""
        return self.objects.place(key)

    def look(self, key: str) -> Entry | None:
        """The size and the time of the last change."""
        return self.objects.look(key)

    @contextmanager
    def read(self, key: str) -> Iterator[Readable]:
        """The object's bytes."""
        with closing(self.objects.parts(key)) as parts:
            yield Joined(parts)

    @contextmanager
    def attempt(self) -> Iterator[Stage]:
        """Nothing has to be kept for content that is not sent yet."""

        def stage(content: Content) -> _Hashed:
            with content.open() as source:
                sha256, size = hash_stream(source)
            return _Hashed(sha256, size, content, self.objects)

        yield stage

    def set_aside(self, key: str) -> None:
        """Copy it and delete it."""
        with suppress(StoreError):
            self.objects.move(key, keys.aside(key))

    def names(self, prefix: str) -> Iterator[str]:
        """The objects under a longer prefix."""
        return self.objects.names(prefix)

    def remove(self, key: str) -> None:
        """Delete the object."""
        self.objects.remove(key)
