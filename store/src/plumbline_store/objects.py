"""The objects under a prefix of a bucket: each request to the server, told in plain words when it fails.

Used by `bucket` alone. Large objects come and go in parts; a connection that breaks off in one costs that part alone.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from plumbline_store.backend import Absent, Entry
from plumbline_store.errors import StoreError, Unavailable
from plumbline_store.s3client import S3Client, code_of, in_s3_words
from plumbline_store.transfers import PART, in_order

__all__ = ["Objects", "Send"]

LOOSE_CLOCK: Final = timedelta(minutes=15)
"""A server's clock may be ahead by as much: S3 refuses requests whose times differ by more."""
DEAD: Final = timedelta(days=1)
"""No living writer takes this long for one file."""
TRIES: Final = 3
Send = Callable[[Iterable[bytes]], None]
"""Sends the parts of an object, one after the other."""

_NOTHING: Final = frozenset({"NoSuchKey", "404"})
_TAKEN: Final = frozenset({"PreconditionFailed", "412"})
_CONTENDED: Final = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})


@dataclass(frozen=True)
class _Part:
    """A part of an object, and what tells whether another is of the same."""

    data: bytes
    etag: str
    total: int
    """Bytes of the whole."""


@dataclass(frozen=True)
class Objects:
    """All of them; the bucket must be there."""

    client: S3Client
    name: str
    """The bucket's."""
    prefix: str
    """Empty, or with a slash at its end."""

    def place(self, key: str) -> str:
        """The address of an object."""
        return f"s3://{self.name}/{self.prefix}{key}"

    def look(self, key: str) -> Entry | None:
        """Its size, and the time of its last change as it would be if the server's clock were far ahead."""
        with in_s3_words(self.place(key)):
            try:
                found = self.client.head_object(**self._at(key))
            except ClientError as error:
                if code_of(error) in _NOTHING:
                    return None
                raise
        written = found["LastModified"] - LOOSE_CLOCK
        return Entry(found["ContentLength"], int(written.timestamp() * 1e9))

    def names(self, prefix: str) -> Iterator[str]:
        """The keys of those under a longer prefix."""
        where: dict[str, str] = {}
        while True:
            with in_s3_words(self.place(prefix)):
                found = self.client.list_objects_v2(Bucket=self.name, Prefix=self.prefix + prefix, **where)
            for one in found.get("Contents", ()):
                yield str(one["Key"]).removeprefix(self.prefix)
            if not found.get("IsTruncated"):
                return
            where = {"ContinuationToken": found["NextContinuationToken"]}

    def remove(self, key: str) -> None:
        """Delete an object, if there is one."""
        with in_s3_words(self.place(key)):
            self.client.delete_object(**self._at(key))

    def move(self, key: str, other: str) -> None:
        """Give an object another key; one of any size."""
        with in_s3_words(self.place(key)):
            self.client.copy(self._at(key), self.name, self.prefix + other)
            self.client.delete_object(**self._at(key))

    def parts(self, key: str) -> Generator[bytes, None, None]:
        """Its bytes, a few parts at a time; raises Absent."""
        first = self._fetch(key, 0)
        yield first.data
        for part in in_order(partial(self._fetch, key), range(PART, first.total, PART)):
            if part.etag != first.etag:
                raise Unavailable(self.place(key), "it was replaced while it was being read", "run again")
            yield part.data

    def create(self, key: str, data: bytes) -> bool:
        """Make an object where there is none; whether this call did it."""
        with in_s3_words(self.place(key)):
            for _ in range(TRIES):
                try:
                    self.client.put_object(**self._at(key), Body=data, IfNoneMatch="*")
                except ClientError as error:
                    if code_of(error) in _TAKEN:
                        return False
                    if code_of(error) not in _CONTENDED:
                        raise
                else:
                    return True
        # Others are writing it all the while. Who replaces it writes the same, or knows what it replaces.
        return False

    def overwrite(self, key: str, data: bytes) -> None:
        """Make an object, whatever is there."""
        with in_s3_words(self.place(key)):
            self.client.put_object(**self._at(key), Body=data)

    @contextmanager
    def upload(self, key: str) -> Iterator[Send]:
        """Send a large object in parts; it is there when the block ends well, and otherwise nothing is left of it."""
        self._forget_dead()
        with in_s3_words(self.place(key)):
            target = {**self._at(key), "UploadId": self.client.create_multipart_upload(**self._at(key))["UploadId"]}
        done: list[dict[str, Any]] = []
        try:
            yield lambda parts: done.extend(in_order(partial(self._send, key, target), enumerate(parts, 1)))
            self._complete(key, target, done)
        except BaseException:
            with suppress(StoreError), in_s3_words(self.place(key)):
                self.client.abort_multipart_upload(**target)
            raise

    # Parts of the above

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.name, "Key": self.prefix + key}

    def _fetch(self, key: str, start: int) -> _Part:
        for again in reversed(range(TRIES)):
            with in_s3_words(self.place(key)):
                try:
                    found = self.client.get_object(**self._at(key), Range=f"bytes={start}-{start + PART - 1}")
                except ClientError as error:
                    if code_of(error) in _NOTHING:
                        raise Absent(key) from error
                    if code_of(error) == "InvalidRange" and start == 0:
                        return _Part(b"", "", 0)
                    raise
                try:
                    return _Part(found["Body"].read(), found["ETag"], _total(found))
                except (BotoCoreError, OSError):
                    if not again:
                        raise
        raise AssertionError("the last try returns or raises")

    def _send(self, key: str, target: dict[str, str], numbered: tuple[int, bytes]) -> dict[str, Any]:
        number, part = numbered
        with in_s3_words(self.place(key)):
            sent = self.client.upload_part(**target, PartNumber=number, Body=part)
        return {"PartNumber": number, "ETag": sent["ETag"]}

    def _complete(self, key: str, target: dict[str, str], done: list[dict[str, Any]]) -> None:
        with in_s3_words(self.place(key)):
            try:
                self.client.complete_multipart_upload(**target, MultipartUpload={"Parts": done})
            except ClientError as error:
                # Asked a second time because the answer got lost: the upload is gone, the object is there.
                if code_of(error) != "NoSuchUpload" or self.look(key) is None:
                    raise

    def _forget_dead(self) -> None:
        """Give back the space of uploads whose writers are no more; as far as that is permitted."""
        with suppress(StoreError), in_s3_words(self.place("")):
            found = self.client.list_multipart_uploads(Bucket=self.name, Prefix=self.prefix)
            now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
            for upload in found.get("Uploads", ()):
                if now - upload["Initiated"] > DEAD:
                    target = {"Bucket": self.name, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                    self.client.abort_multipart_upload(**target)


def _total(found: dict[str, Any]) -> int:
    """Bytes of the whole that an answer has a part of."""
    return int(str(found["ContentRange"]).rpartition("/")[2]) if "ContentRange" in found else found["ContentLength"]
