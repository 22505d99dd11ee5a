"""Sealed folders: what was cut short, altered or left by other orders is never resumed from."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from plumbline_trainer.checkpoints import SEAL, complete_checkpoints, read_seal, remove_older, seal

KEY = "sha256:" + "1" * 64


def checkpoint(folder: Path, step: int, *, sealed: bool = True, key: str = KEY) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "inner").mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"weights %d" % step)
    (path / "inner" / "state.json").write_text("{}")
    (path / "training_args.bin").write_bytes(b"a pickle")
    if sealed:
        seal(path, key, step)
    return path


def test_the_newest_complete_checkpoint_comes_first(tmp_path: Path) -> None:
    for step in (2, 10, 4):
        checkpoint(tmp_path, step)
    found = complete_checkpoints(tmp_path, KEY)
    assert [(one.step, one.path.name) for one in found] == [(n, f"checkpoint-{n}") for n in (10, 4, 2)]


def test_without_checkpoints_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert complete_checkpoints(tmp_path, KEY) == ()
    assert complete_checkpoints(tmp_path / "absent", KEY) == ()


def test_a_seal_drops_the_pickle_that_nobody_reads(tmp_path: Path) -> None:
    assert not (checkpoint(tmp_path, 2) / "training_args.bin").exists()


def truncate(path: Path) -> None:
    (path / "model.safetensors").write_bytes(b"wei")


def alter(path: Path) -> None:
    (path / "model.safetensors").write_bytes(b"WEIGHTS 4")


def lose(path: Path) -> None:
    (path / "inner" / "state.json").unlink()


def add(path: Path) -> None:
    (path / "optimizer.pt").write_bytes(b"surprise")


def unseal(path: Path) -> None:
    (path / SEAL).unlink()


def cut_seal(path: Path) -> None:
    (path / SEAL).write_text((path / SEAL).read_text()[:40])


@pytest.mark.parametrize("damage", [truncate, alter, lose, add, unseal, cut_seal])
def test_a_damaged_checkpoint_is_skipped_with_a_sentence_and_removed(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint(tmp_path, 2)
    damage(checkpoint(tmp_path, 4))
    with caplog.at_level(logging.WARNING):
        found = complete_checkpoints(tmp_path, KEY)
    assert [one.step for one in found] == [2]
    assert "checkpoint-4 is skipped" in caplog.text
    assert not (tmp_path / "checkpoint-4").exists()


def test_a_checkpoint_of_other_orders_is_skipped(tmp_path: Path) -> None:
    checkpoint(tmp_path, 2, key="sha256:" + "2" * 64)
    assert complete_checkpoints(tmp_path, KEY) == ()


def test_only_the_two_newest_are_kept(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-notes").mkdir()
    remove_older(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-6", "checkpoint-8", "checkpoint-notes"]


def test_a_seal_carries_the_last_numbers(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 2, sealed=False)
    seal(path, KEY, 2, {"loss": 0.5})
    found = read_seal(path, KEY)
    assert found is not None
    assert found.metrics == {"loss": 0.5}
