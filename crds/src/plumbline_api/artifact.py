"""Manifest v1: what an artifact consists of. The digest of a subject is the sha256 of its canonical manifest.

Written by whoever makes an artifact; read, and checked against the content, by everybody who uses one. It holds no
times, so the same content always has the same digest.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from plumbline_api.model import Document, digest_of
from plumbline_api.scalars import Digest

__all__ = ["ArtifactRef", "File", "Manifest", "MediaType", "Parent"]


class MediaType(StrEnum):
    """Kinds of artifact."""

    MODEL = "application/vnd.plumbline.model.v1"
    """A model folder: config, safetensors, tokenizer."""
    ADAPTER = "application/vnd.plumbline.adapter.v1"
    """Low-rank adapters that need their base model."""
    DATASET = "application/vnd.plumbline.dataset.v1"
    """Rows of training data."""
    REPORT = "application/vnd.plumbline.report.v1"
    """A Report v1 with what belongs to it."""


class File(Document):
    """One file: a relative path with forward slashes, its content's sha256 and its size in bytes."""

    path: Annotated[str, Field(min_length=1, max_length=512)]
    """Where the file lies inside the artifact, with forward slashes."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """64 hexadecimal digits."""
    size: Annotated[int, Field(ge=0)]
    """Bytes."""

    @model_validator(mode="after")
    def _stays_inside(self) -> Self:
        parts = self.path.split("/")
        if self.path.startswith("/") or "\\" in self.path or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"{self.path!r} is not a plain relative path")
        return self


class Parent(Document):
    """What an artifact was made from, and in which role."""

    role: Annotated[str, Field(min_length=1, max_length=64)]
    """What the parent was, for example `model` or `dataset`."""
    digest: Digest
    """Digest of the parent's manifest."""


class Manifest(Document):
    """The content and origin of one artifact."""

    version: Literal[1] = 1
    """Version of this format."""
    media_type: MediaType
    """What the files are."""
    files: Annotated[tuple[File, ...], Field(min_length=1, max_length=10_000)]
    """Sorted by path."""
    parents: Annotated[tuple[Parent, ...], Field(max_length=64)] = ()
    """What the artifact was made from."""
    licence: Annotated[str, Field(max_length=128)] | None = None
    """SPDX expression, where known."""

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("files must be sorted by path, each once")
        return self

    @property
    def digest(self) -> str:
        """`sha256:...` of the canonical manifest."""
        return digest_of(self)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class ArtifactRef(Document):
    """Where an artifact is and what it must be."""

    uri: Annotated[str, Field(min_length=1, max_length=2048)]
    """The store, for example `file:///srv/plumbline/store`."""
    digest: Digest
    """Digest of the manifest."""
    media_type: MediaType
    """What the artifact is."""
    size: Annotated[int, Field(ge=0)]
    """Bytes of all files."""
