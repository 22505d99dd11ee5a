"""What a path would be published as is known without publishing it, and progress adds up."""

import os
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_store import SourceUnusable, Store
from tests.unit.store.places import Places, blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "deep").mkdir(parents=True)
    (made / "config.json").write_bytes(b"{}")
    (made / "deep/weights.safetensors").write_bytes(b"w" * 3_000_000)
    (made / ".cache").write_bytes(b"not published")
    return made


def test_identifying_writes_nothing_and_tells_what_importing_makes(places: Places, store: Store, folder: Path) -> None:
    found = store.identify(folder, MediaType.MODEL)
    assert places.keys() == []
    assert not store.exists()
    assert not store.has(found.digest)
    assert store.import_path(folder, MediaType.MODEL) == found
    assert store.exists()
    assert store.has(found.digest)


def test_the_media_type_is_part_of_what_it_is(store: Store, folder: Path) -> None:
    assert store.identify(folder, MediaType.MODEL).digest != store.identify(folder, MediaType.DATASET).digest


@pytest.mark.parametrize("step", ["identify", "import_path"])
def test_every_byte_is_told_of_once(store: Store, folder: Path, step: str) -> None:
    told: list[tuple[int, int]] = []
    getattr(store, step)(folder, MediaType.MODEL, told=lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {3_000_002}
    assert told[-1] == (3_000_002, 3_000_002)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) > 3, "a large file is told of in parts"


def test_a_link_is_refused_before_anything_is_read(store: Store, folder: Path) -> None:
    os.symlink("/etc/hostname", folder / "link")
    with pytest.raises(SourceUnusable, match="symbolic link"):
        store.identify(folder, MediaType.MODEL)


def test_what_an_import_has_recorded_is_not_read_again(places: Places, store: Store, folder: Path) -> None:
    ref = store.import_path(folder, MediaType.MODEL)
    places.age("imports/")
    told: list[int] = []
    assert store.identify(folder, MediaType.MODEL, told=lambda done, _: told.append(done)) == ref
    assert told == []
    places.remove(blobs(places)[0])
    assert store.identify(folder, MediaType.MODEL, told=lambda done, _: told.append(done)) == ref
    assert told, "an artifact with a hole is looked at anew"
