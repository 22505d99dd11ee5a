"""Unfinished work is kept as its newest complete state, verified, and gone at its end."""

import logging
from pathlib import Path

import pytest

from plumbline_store import Store
from tests.unit.store.places import Places, flip

KEY = "sha256:" + "c" * 64
OTHER = "sha256:" + "d" * 64


def checkpoint(parent: Path, step: int) -> Path:
    folder = parent / f"checkpoint-{step}"
    (folder / "deep").mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(b"state of step %d" % step)
    (folder / "deep/config.json").write_bytes(b"the same in each")
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_newest_comes_back_and_nothing_older_is_kept(places: Places, store: Store, tmp_path: Path) -> None:
    for step in (2, 4):
        store.drafts.save(KEY, checkpoint(tmp_path, step))
    assert len(places.keys("drafts/")) == 3
    found = store.drafts.restore(KEY, tmp_path / "new")
    assert found == tmp_path / "new" / "checkpoint-4"
    assert read(found) == read(tmp_path / "checkpoint-4")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["checkpoint-4"]


def test_what_is_done_leaves_nothing(places: Places, store: Store, tmp_path: Path) -> None:
    store.drafts.save(KEY, checkpoint(tmp_path, 2))
    store.drafts.save(OTHER, checkpoint(tmp_path, 3))
    store.drafts.remove(KEY)
    store.drafts.remove(KEY)
    assert store.drafts.restore(KEY, tmp_path / "new") is None
    assert store.drafts.restore(OTHER, tmp_path / "new") is not None
    assert all("d" * 64 in key for key in places.keys("drafts/"))


@pytest.mark.parametrize("what", ["record", "files"])
def test_a_damaged_one_counts_as_absent_and_is_replaced_by_the_next(
    what: str, places: Places, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = checkpoint(tmp_path, 2)
    store.drafts.save(KEY, folder)
    for key in places.keys(f"drafts/{'c' * 64}/{what}"):
        flip(places, key, 10)
    with caplog.at_level(logging.WARNING):
        assert store.drafts.restore(KEY, tmp_path / "new") is None
    assert ("checkpoint-2 is not restored" in caplog.text) == (what == "files")
    assert not (tmp_path / "new").exists() or list((tmp_path / "new").iterdir()) == []
    store.drafts.save(KEY, folder)
    assert store.drafts.restore(KEY, tmp_path / "new") is not None


def test_one_that_was_cut_short_leaves_the_one_before(places: Places, store: Store, tmp_path: Path) -> None:
    store.drafts.save(KEY, checkpoint(tmp_path, 2))
    before = places.get(f"drafts/{'c' * 64}/record.json")
    kept = {key: places.get(key) for key in places.keys("drafts/")}
    store.drafts.save(KEY, checkpoint(tmp_path, 4))
    for key, data in kept.items():
        places.put(key, data)
    assert places.get(f"drafts/{'c' * 64}/record.json") == before
    found = store.drafts.restore(KEY, tmp_path / "new")
    assert found is not None
    assert read(found) == read(tmp_path / "checkpoint-2")
