"""What goes in comes out, once, under a digest that depends on nothing else."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline_api.artifact import MediaType, Parent
from plumbline_store import Store, StoreError, open_store
from tests.unit.store.places import CONTENT, FolderPlaces, Places, blobs, manifests

names = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
folders = st.dictionaries(st.tuples(st.sampled_from(["", "one/", "one/two/"]), names).map("".join), st.binary(),
                          min_size=1, max_size=6).filter(lambda files: not {"one", "one/two"} & set(files))  # fmt: skip


def write(files: dict[str, bytes], folder: Path) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@settings(max_examples=12, deadline=None)
@given(folders)
def test_a_folder_comes_back_as_it_was(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        store = open_store(f"file://{base}/store")
        ref = store.publish(write(files, base / "in"), MediaType.DATASET)
        assert store.publish_bytes(files, MediaType.DATASET) == ref
        assert read(store.checkout(ref.digest, base / "out")) == files
        assert {path: store.read_file(ref.digest, path) for path in files} == files
        assert ref.size == sum(map(len, files.values()))
        assert store.has(ref.digest)
        assert FolderPlaces(base / "store").leftovers() == []


def test_equal_content_is_kept_once(places: Places, store: Store) -> None:
    store.publish_bytes({"a": b"same", "b": b"same"}, MediaType.DATASET)
    store.publish_bytes({"c": b"same"}, MediaType.MODEL)
    assert len(blobs(places)) == 1
    assert len(manifests(places)) == 2


def test_parents_and_licence_belong_to_the_digest(store: Store) -> None:
    bare = store.publish_bytes(CONTENT, MediaType.MODEL)
    derived = store.publish_bytes(CONTENT, MediaType.MODEL, parents=[Parent(role="model", digest=bare.digest)])
    licensed = store.publish_bytes(CONTENT, MediaType.MODEL, licence="Apache-2.0")
    assert len({bare.digest, derived.digest, licensed.digest}) == 3
    assert store.manifest(licensed.digest).licence == "Apache-2.0"


def test_include_picks_files(store: Store, tmp_path: Path) -> None:
    folder = write({**CONTENT, "training_args.bin": b"pickle"}, tmp_path / "in")
    ref = store.publish(folder, MediaType.MODEL, include=lambda path: not path.endswith(".bin"))
    assert [file.path for file in store.manifest(ref.digest).files] == sorted(CONTENT)


def test_a_consumer_gets_files_of_its_own(store: Store, tmp_path: Path) -> None:
    ref = store.publish_bytes(CONTENT, MediaType.MODEL)
    out = store.checkout(ref.digest, tmp_path / "out")
    (out / "config.json").write_bytes(b"altered")
    assert store.read_file(ref.digest, "config.json") == CONTENT["config.json"]


def test_what_lies_in_a_folder_is_read_only_and_nobody_elses(folder_places: FolderPlaces, tmp_path: Path) -> None:
    store = open_store(folder_places.uri)
    store.checkout(store.publish_bytes(CONTENT, MediaType.MODEL).digest, tmp_path / "out")
    kept = [(folder_places.root / key).stat() for key in blobs(folder_places)]
    assert all(found.st_nlink == 1 and not found.st_mode & 0o222 for found in kept)


def test_a_second_checkout_takes_an_intact_folder_and_refuses_an_altered_one(store: Store, tmp_path: Path) -> None:
    ref = store.publish_bytes(CONTENT, MediaType.MODEL)
    out = store.checkout(ref.digest, tmp_path / "out")
    assert store.checkout(ref.digest, out) == out
    (out / "config.json").write_bytes(b"altered")
    with pytest.raises(StoreError, match="altered since it was checked out; remove the folder"):
        store.checkout(ref.digest, out)
    (out / "config.json").write_bytes(CONTENT["config.json"])
    (out / "extra").write_bytes(b"")
    with pytest.raises(StoreError, match="not this artifact"):
        store.checkout(ref.digest, out)


def test_a_checkout_leaves_nothing_beside_it(store: Store, tmp_path: Path) -> None:
    ref = store.publish_bytes(CONTENT, MediaType.MODEL)
    store.checkout(ref.digest, tmp_path / "deep" / "out")
    assert os.listdir(tmp_path / "deep") == ["out"]


def test_an_address_with_a_space_is_understood(tmp_path: Path) -> None:
    store = open_store((tmp_path / "my store").as_uri())
    store.publish_bytes(CONTENT, MediaType.MODEL)
    assert (tmp_path / "my store" / "layout.json").is_file()


def test_opening_creates_nothing(places: Places, store: Store) -> None:
    assert not store.has("sha256:" + "0" * 64)
    assert places.keys() == []
    assert not store.exists()
