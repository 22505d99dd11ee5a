"""An unchanged path is not read again; a changed one always is."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_store import DigestMismatch, SourceUnusable, Store
from tests.unit.store.places import Places, blobs, flip

_watched: dict[str, int] = {}


def _count(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and str(args[0]) in _watched:
        _watched[str(args[0])] += 1


sys.addaudithook(_count)


@contextmanager
def opened(path: Path) -> Iterator[list[int]]:
    """How often the path was opened meanwhile."""
    _watched[str(path)] = 0
    found: list[int] = []
    yield found
    found.append(_watched.pop(str(path)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("{}\n")
    return path


def test_an_unchanged_file_is_not_read_again(places: Places, store: Store, data: Path) -> None:
    with opened(data) as times:
        first = store.import_path(data, MediaType.DATASET)
    assert times[0] >= 1
    places.age("imports/")
    with opened(data) as times:
        assert store.import_path(data, MediaType.DATASET) == first
    assert times == [0]


def test_a_file_changed_a_moment_ago_is_read_again(store: Store, data: Path) -> None:
    store.import_path(data, MediaType.DATASET)
    with opened(data) as times:
        store.import_path(data, MediaType.DATASET)
    assert times[0] >= 1


def test_a_changed_file_is_another_artifact_even_at_the_same_size_and_time(
    places: Places, store: Store, data: Path
) -> None:
    status = data.stat()
    first = store.import_path(data, MediaType.DATASET)
    places.age("imports/")
    data.write_text("[]\n")
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.import_path(data, MediaType.DATASET) != first


def test_an_import_whose_artifact_is_gone_is_made_again(places: Places, store: Store, data: Path) -> None:
    ref = store.import_path(data, MediaType.DATASET)
    places.age("imports/")
    places.remove(blobs(places)[0])
    assert store.import_path(data, MediaType.DATASET) == ref
    store.verify(ref.digest)


def test_an_import_whose_content_was_found_damaged_is_made_again(places: Places, store: Store, data: Path) -> None:
    ref = store.import_path(data, MediaType.DATASET)
    places.age("imports/")
    flip(places, blobs(places)[0])
    with pytest.raises(DigestMismatch):
        store.verify(ref.digest)
    assert store.import_path(data, MediaType.DATASET) == ref
    store.verify(ref.digest)


def test_a_damaged_import_record_is_not_believed(places: Places, store: Store, data: Path) -> None:
    ref = store.import_path(data, MediaType.DATASET)
    flip(places, places.keys("imports/")[0], 30)
    places.age("imports/")
    assert store.import_path(data, MediaType.DATASET) == ref


def test_hidden_files_are_left_out_of_a_folder_but_a_named_one_is_taken(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("x")
    (folder / "config.json").write_text("{}")
    ref = store.import_path(folder, MediaType.MODEL)
    assert [file.path for file in store.manifest(ref.digest).files] == ["config.json"]
    (folder / "config.json").unlink()
    with pytest.raises(SourceUnusable, match="no file to publish"):
        store.import_path(folder, MediaType.MODEL)
    assert store.import_path(folder / ".git" / "HEAD", MediaType.DATASET).size == 1


def test_one_path_may_be_imported_as_two_types(store: Store, data: Path) -> None:
    assert store.import_path(data, MediaType.DATASET) != store.import_path(data, MediaType.REPORT)


def test_a_link_to_a_file_is_followed(store: Store, data: Path, tmp_path: Path) -> None:
    link = tmp_path / "newest.jsonl"
    link.symlink_to(data)
    ref = store.import_path(link, MediaType.DATASET)
    assert [file.path for file in store.manifest(ref.digest).files] == ["newest.jsonl"]
