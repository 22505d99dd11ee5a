"""A flipped bit is found by every way of reading, and is healed by publishing the same content again."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_api.report import Result, Summary
from plumbline_store import ArtifactMissing, DigestMismatch, Presence, Store
from tests.unit.store.places import CONTENT, Places, blobs, flip, manifests

Read = Callable[[Store, str, Path], object]
WEIGHTS = "model.safetensors"

READ_CONTENT: dict[str, Read] = {
    "checkout": lambda store, digest, folder: store.checkout(digest, folder / "out"),
    "read_file": lambda store, digest, folder: store.read_file(digest, WEIGHTS),
    "verify": lambda store, digest, folder: store.verify(digest),
}
READ_MANIFEST: dict[str, Read] = READ_CONTENT | {
    "manifest": lambda store, digest, folder: store.manifest(digest),
}


def blob_of(store: Store, digest: str, path: str) -> str:
    sha256 = next(file.sha256 for file in store.manifest(digest).files if file.path == path)
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


@pytest.mark.parametrize("read", READ_CONTENT.values(), ids=READ_CONTENT)
def test_a_flipped_byte_of_content_is_found(read: Read, places: Places, store: Store, tmp_path: Path) -> None:
    digest = store.publish_bytes(CONTENT, MediaType.MODEL).digest
    blob = blob_of(store, digest, WEIGHTS)
    flip(places, blob, 350)
    with pytest.raises(DigestMismatch) as caught:
        read(store, digest, tmp_path)
    assert caught.value.place.endswith(blob)
    assert caught.value.expected == blob.rpartition("/")[2]
    assert "publish the artifact again" in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name != "store"]
    with pytest.raises(ArtifactMissing, match="was damaged and set aside"):
        read(store, digest, tmp_path)
    assert store.publish_bytes(CONTENT, MediaType.MODEL).digest == digest
    read(store, digest, tmp_path)


@pytest.mark.parametrize("read", READ_MANIFEST.values(), ids=READ_MANIFEST)
def test_a_flipped_byte_of_the_manifest_is_found(read: Read, places: Places, store: Store, tmp_path: Path) -> None:
    digest = store.publish_bytes(CONTENT, MediaType.MODEL).digest
    flip(places, manifests(places)[0], 40)
    with pytest.raises(DigestMismatch):
        read(store, digest, tmp_path)
    assert not store.has(digest)
    assert store.lineage(digest).presence is Presence.DAMAGED


@pytest.mark.parametrize("read", READ_CONTENT.values(), ids=READ_CONTENT)
def test_a_lost_file_is_missing_and_not_empty(read: Read, places: Places, store: Store, tmp_path: Path) -> None:
    digest = store.publish_bytes(CONTENT, MediaType.MODEL).digest
    places.remove(blob_of(store, digest, WEIGHTS))
    with pytest.raises(ArtifactMissing, match="gone from the store"):
        read(store, digest, tmp_path)
    assert not store.has(digest)


def test_publishing_again_heals_damage(places: Places, store: Store) -> None:
    digest = store.publish_bytes(CONTENT, MediaType.MODEL).digest
    for key in [*blobs(places), *manifests(places)]:
        flip(places, key)
    assert store.publish_bytes(CONTENT, MediaType.MODEL).digest == digest
    store.verify(digest)


def recorded(store: Store) -> tuple[str, Summary]:
    output = store.publish_bytes(CONTENT, MediaType.MODEL)
    key = "sha256:" + "a" * 64
    summary = Summary(result=Result.SUCCEEDED, cache_key=key, output=output)
    store.record(key, summary)
    return key, summary


def test_a_recorded_result_comes_back(store: Store) -> None:
    key, summary = recorded(store)
    assert store.recall(key) == summary
    assert store.recall("sha256:" + "b" * 64) is None


def test_the_first_recorded_result_stays(store: Store) -> None:
    key, summary = recorded(store)
    store.record(key, summary.model_copy(update={"message": "second"}))
    assert store.recall(key) == summary


def test_a_result_whose_artifact_is_damaged_counts_as_absent_and_can_be_replaced(
    places: Places, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    key, summary = recorded(store)
    flip(places, blobs(places)[0])
    with caplog.at_level(logging.WARNING):
        assert store.recall(key) is None
    assert "the stage runs again" in caplog.text
    other = store.publish_bytes({"config.json": b"[]"}, MediaType.MODEL)
    better = summary.model_copy(update={"output": other})
    store.record(key, better)
    assert store.recall(key) == better


@pytest.mark.parametrize("position", [5, 60, 120, 200])
def test_a_damaged_record_is_not_believed(
    position: int, places: Places, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    key, summary = recorded(store)
    flip(places, places.keys("cache/")[0], position)
    assert store.recall(key) is None
    assert "the recorded result is damaged" in caplog.text
    store.record(key, summary)
    assert store.recall(key) == summary


def test_a_record_under_another_key_is_not_believed(places: Places, store: Store) -> None:
    recorded(store)
    places.put("cache/" + "b" * 64 + ".json", places.get(places.keys("cache/")[0]))
    assert store.recall("sha256:" + "b" * 64) is None
