"""A process killed with -9 before each single step of its work on files, one after the other."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_api.report import Result, Summary
from plumbline_store import Store, open_store
from tests.unit.store.places import CONTENT, FolderPlaces, digest_of, manifests

pytestmark = pytest.mark.local

STEPS = {"open", "os.link", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod"}
KEY = "sha256:" + "a" * 64
SUMMARY = Summary(result=Result.SUCCEEDED, message="kept")
Work = Callable[[Store, Path], object]


def publish(store: Store, _: Path) -> object:
    return store.publish_bytes(CONTENT, MediaType.MODEL)


def checkout(store: Store, folder: Path) -> object:
    return store.checkout(store.publish_bytes(CONTENT, MediaType.MODEL).digest, folder / "out")


def record(store: Store, _: Path) -> object:
    store.record(KEY, SUMMARY)
    return SUMMARY


def import_path(store: Store, folder: Path) -> object:
    return store.import_path(folder / "data.jsonl", MediaType.DATASET)


def dies_before(step: int, work: Callable[[], object]) -> bool:
    """Whether a child doing the work came as far as this step, at which it is killed."""
    child = os.fork()
    if child == 0:
        seen = 0

        def watch(event: str, _: tuple[object, ...]) -> None:
            nonlocal seen
            seen += event in STEPS
            if event in STEPS and seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("work", [publish, checkout, record, import_path])
def test_killed_before_any_step_it_leaves_nothing_half_done(work: Work, tmp_path: Path) -> None:
    step = 0
    while True:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        (folder / "data.jsonl").write_text("{}\n")
        places = FolderPlaces(folder / "store")
        store = open_store(places.uri)
        if not dies_before(step, partial(work, store, folder)):
            break
        for manifest in manifests(places):
            store.verify(digest_of(manifest))
        assert store.recall(KEY) in (None, SUMMARY)
        if (folder / "out").exists():
            assert {path.name for path in (folder / "out").iterdir()} == {
                "config.json",
                "model.safetensors",
                "tokenizer",
            }
        work(store, folder)
        assert places.leftovers() == []
        assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
    assert step > 15
