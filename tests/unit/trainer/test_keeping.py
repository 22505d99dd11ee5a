"""Checkpoints go into the store beside the training, the newest first, and never hold it up."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from plumbline_store import Store, Unavailable, open_store
from plumbline_trainer.checkpoints import seal
from plumbline_trainer.keeping import WAITING, fetch_checkpoint, forget_checkpoint, keeping
from tests.support.objectstore import Asked, ObjectStore, run_object_store

KEY = "sha256:" + "c" * 64


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with run_object_store(tmp_path) as server:
        for name, value in {**server.environment(), "AWS_MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
        client = boto3.Session().client("s3", config=Config(request_checksum_calculation="when_required"))
        client.create_bucket(Bucket="models")
        yield server


@pytest.fixture
def store(server: ObjectStore) -> Store:
    return open_store("s3://models/plumbline")


def checkpoint(work: Path, step: int) -> Path:
    folder = work / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(b"state of step %d" % step)
    seal(folder, KEY, step)
    return folder


def test_a_checkpoint_that_waits_gives_way_to_a_newer_one(server: ObjectStore, store: Store, tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    sent: list[bytes] = []

    def hold(asked: Asked) -> None:
        if asked.method == "PUT":
            sent.append(asked.path.encode())
            begun.set()
            go_on.wait(20)

    server.fault = hold
    with keeping(store, KEY, tmp_path / "work") as keep:
        keep(checkpoint(tmp_path / "work", 2))
        assert begun.wait(20)
        keep(checkpoint(tmp_path / "work", 4))
        keep(checkpoint(tmp_path / "work", 6))
        go_on.set()
    fetch_checkpoint(store, KEY, tmp_path / "new")
    assert (tmp_path / "new/checkpoint-6/optimizer.pt").read_bytes() == b"state of step 6"
    # The mark of the store, and twice two files and their record: the one between was never sent.
    assert len(sent) == 1 + 2 * 3
    assert list((tmp_path / "work" / WAITING).iterdir()) == []


def test_where_the_store_does_not_answer_training_goes_on_and_a_later_attempt_waits(
    server: ObjectStore, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.stop()
    with caplog.at_level(logging.WARNING), keeping(store, KEY, tmp_path / "work") as keep:
        keep(checkpoint(tmp_path / "work", 2))
    assert "checkpoint-2 is kept in this pod alone: s3://models/plumbline" in caplog.text
    fetch_checkpoint(store, KEY, tmp_path / "work/checkpoints")
    with pytest.raises(Unavailable):
        fetch_checkpoint(store, KEY, tmp_path / "new")
    forget_checkpoint(store, KEY)
    assert "the last checkpoint stays in the store" in caplog.text
