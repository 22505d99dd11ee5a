"""A flipped bit is found by every way of reading, and is healed by publishing the same content again."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_api.report import Result, Summary
from plumbline_store import ArtifactMissing, DigestMismatch, FileStore, Presence
from tests.unit.store.places import CONTENT, blobs, flip, manifests, root

Read = Callable[[FileStore, str, Path], object]
WEIGHTS = "model.safetensors"

READ_CONTENT: dict[str, Read] = {
    "checkout": lambda store, digest, folder: store.checkout(digest, folder / "out"),
    "read_file": lambda store, digest, folder: store.read_file(digest, WEIGHTS),
    "verify": lambda store, digest, folder: store.verify(digest),
}
READ_MANIFEST: dict[str, Read] = READ_CONTENT | {
    "manifest": lambda store, digest, folder: store.manifest(digest),
}


def blob_of(store: FileStore, digest: str, path: str) -> Path:
    sha256 = next(file.sha256 for file in store.manifest(digest).files if file.path == path)
    return next(blob for blob in blobs(store) if blob.name == sha256)


@pytest.mark.parametrize("read", READ_CONTENT.values(), ids=READ_CONTENT)
def test_a_flipped_byte_of_content_is_found(read: Read, store: FileStore, tmp_path: Path) -> None:
    digest = store.publish_bytes(CONTENT, MediaType.MODEL).digest
    blob = blob_of(store, digest, WEIGHTS)
    flip(blob, 350)
    with pytest.raises(DigestMismatch) as caught:
        read(store, digest, tmp_path)
    assert (caught.value.path, caught.value.expected) == (blob, blob.name)
    assert "publish the artifact again" in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    with pytest.raises(ArtifactMissing, match="was damaged and set aside"):
        read(store, digest, tmp_path)
    assert store.publish_bytes(CONTENT, MediaType.MODEL).digest == digest
    read(store, digest, tmp_path)


@pytest.mark.parametrize("read", READ_MANIFEST.values(), ids=READ_MANIFEST)
def test_a_flipped_byte_of_the_manifest_is_found(read: Read, store: FileStore, tmp_path: Path) -> None:
    digest = store.publish_bytes(CONTENT, MediaType.MODEL).digest
    flip(manifests(store)[0], 40)
    with pytest.raises(DigestMismatch):
        read(store, digest, tmp_path)
    assert not store.has(digest)
    assert store.lineage(digest).presence is Presence.DAMAGED


@pytest.mark.parametrize("read", READ_CONTENT.values(), ids=READ_CONTENT)
def test_a_lost_file_is_missing_and_not_empty(read: Read, store: FileStore, tmp_path: Path) -> None:
    digest = store.publish_bytes(CONTENT, MediaType.MODEL).digest
    blob_of(store, digest, WEIGHTS).unlink()
    with pytest.raises(ArtifactMissing, match="gone from the store"):
        read(store, digest, tmp_path)
    assert not store.has(digest)


def test_publishing_again_heals_damage(store: FileStore) -> None:
    digest = store.publish_bytes(CONTENT, MediaType.MODEL).digest
    for path in [*blobs(store), *manifests(store)]:
        flip(path)
    assert store.publish_bytes(CONTENT, MediaType.MODEL).digest == digest
    store.verify(digest)


def recorded(store: FileStore) -> tuple[str, Summary]:
    output = store.publish_bytes(CONTENT, MediaType.MODEL)
    key = "sha256:" + "a" * 64
    summary = Summary(result=Result.SUCCEEDED, cache_key=key, output=output)
    store.record(key, summary)
    return key, summary


def test_a_recorded_result_comes_back(store: FileStore) -> None:
    key, summary = recorded(store)
    assert store.recall(key) == summary
    assert store.recall("sha256:" + "b" * 64) is None


def test_the_first_recorded_result_stays(store: FileStore) -> None:
    key, summary = recorded(store)
    store.record(key, summary.model_copy(update={"message": "second"}))
    assert store.recall(key) == summary


def test_a_result_whose_artifact_is_damaged_counts_as_absent_and_can_be_replaced(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    key, summary = recorded(store)
    flip(blobs(store)[0])
    with caplog.at_level(logging.WARNING):
        assert store.recall(key) is None
    assert "the stage runs again" in caplog.text
    other = store.publish_bytes({"config.json": b"[]"}, MediaType.MODEL)
    better = summary.model_copy(update={"output": other})
    store.record(key, better)
    assert store.recall(key) == better


@pytest.mark.parametrize("position", [5, 60, 120, 200])
def test_a_damaged_record_is_not_believed(position: int, store: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    key, summary = recorded(store)
    flip(next((root(store) / "cache").iterdir()), position)
    assert store.recall(key) is None
    assert "the recorded result is damaged" in caplog.text
    store.record(key, summary)
    assert store.recall(key) == summary


def test_a_record_under_another_key_is_not_believed(store: FileStore) -> None:
    recorded(store)
    record = next((root(store) / "cache").iterdir())
    record.rename(record.with_name("b" * 64 + ".json"))
    assert store.recall("sha256:" + "b" * 64) is None
