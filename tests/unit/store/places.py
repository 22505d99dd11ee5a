"""Where things lie in a store, for tests that look at or damage them behind its back."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import moto.backends
from moto.core.models import DEFAULT_ACCOUNT_ID

CONTENT = {"config.json": b"{}", "model.safetensors": b"weights" * 100, "tokenizer/vocab.json": b'{"a": 1}'}


class Places(Protocol):
    """What a store at `uri` keeps, by key."""

    @property
    def uri(self) -> str:
        """The store's address."""

    def keys(self, folder: str = "") -> list[str]:
        """All that begin with this."""

    def get(self, key: str) -> bytes:
        """What lies there."""

    def put(self, key: str, data: bytes) -> None:
        """Lay something else there."""

    def remove(self, key: str) -> None:
        """Take it away."""

    def age(self, folder: str) -> None:
        """As if everything in a folder had been written an hour later than it was."""

    def leftovers(self) -> Sequence[object]:
        """What writers have left that nobody can see."""


def blobs(places: Places) -> list[str]:
    return places.keys("blobs/")


def manifests(places: Places) -> list[str]:
    return places.keys("manifests/")


def digest_of(manifest: str) -> str:
    """The digest that stands in the key of a manifest."""
    return "sha256:" + manifest.rpartition("/")[2].removesuffix(".json")


def flip(places: Places, key: str, position: int = 0) -> None:
    """Damage one byte, as a bad disk would."""
    data = bytearray(places.get(key))
    data[position] ^= 1
    places.put(key, bytes(data))


@dataclass
class FolderPlaces:
    """A store in a folder."""

    root: Path

    @property
    def uri(self) -> str:
        return self.root.as_uri()

    def keys(self, folder: str = "") -> list[str]:
        found = (str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())
        return sorted(key for key in found if key.startswith(folder) and not key.startswith("tmp/"))

    def get(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def put(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def remove(self, key: str) -> None:
        (self.root / key).unlink()

    def age(self, folder: str) -> None:
        for key in self.keys(folder):
            later = (self.root / key).stat().st_mtime + 3600
            os.utime(self.root / key, (later, later))

    def leftovers(self) -> Sequence[object]:
        folder = self.root / "tmp"
        return sorted(folder.iterdir()) if folder.exists() else []


@dataclass
class BucketPlaces:
    """A store in a bucket of the object store that this process runs."""

    client: Any
    bucket: str
    prefix: str = "team/models/"

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix.rstrip('/')}"

    def keys(self, folder: str = "") -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + folder).get("Contents", ())
        return sorted(one["Key"].removeprefix(self.prefix) for one in found)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read())

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def age(self, folder: str) -> None:
        kept = moto.backends.get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"].buckets[self.bucket].keys
        for key in self.keys(folder):
            kept[self.prefix + key].last_modified += timedelta(hours=1)

    def leftovers(self) -> Sequence[object]:
        return list(self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ()))
