"""Small documents that the store keeps: results of stages, imported paths, drafts; each with its own checksum.

None is content-addressed, so each carries the sha256 of what it says, and is worth nothing when it differs.
"""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, ValidationError

from plumbline_api.artifact import File
from plumbline_api.model import Document, canonical_json, digest_of
from plumbline_api.report import Summary
from plumbline_api.scalars import Digest

__all__ = ["DraftRecord", "ImportRecord", "Record", "ResultRecord", "read_record"]


class Record(Document):
    """What every record carries."""

    version: Literal[1] = 1
    sha256: Annotated[str, Field(max_length=71)] = ""
    """Digest of the record with this field empty."""

    def sealed(self) -> bytes:
        """The bytes to keep, checksum included."""
        return canonical_json(self.model_copy(update={"sha256": digest_of(self.model_copy(update={"sha256": ""}))}))

    def intact(self) -> bool:
        """Whether the checksum is right."""
        return self.sha256 == digest_of(self.model_copy(update={"sha256": ""}))


R = TypeVar("R", bound=Record)


class ResultRecord(Record):
    """The result of a stage."""

    cache_key: Digest
    summary: Summary

    @classmethod
    def of(cls, cache_key: str, summary: Summary) -> Self:
        """The record of a result."""
        return cls(cache_key=cache_key, summary=summary)


class ImportRecord(Record):
    """What a path held when it was imported: the stat of each file, and the artifact that was made of them."""

    path: str
    fingerprints: dict[str, tuple[int, ...]]
    digest: Digest


class DraftRecord(Record):
    """The newest state of unfinished work: a folder's name and files."""

    key: Digest
    name: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    files: tuple[File, ...]
    signature: str | None = None
    """A bundle over the files, by whoever keeps them."""


def read_record(kind: type[R], data: bytes) -> R | None:
    """The record, or None where the bytes are not an intact one."""
    try:
        record = kind.read(data)
    except ValidationError:
        return None
    return record if record.intact() else None
