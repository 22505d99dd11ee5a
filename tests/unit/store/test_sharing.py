"""A store that several accounts write in: people who push, and the pods of runs."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_store import open_store

NOBODY = 65_534


def modes(root: Path) -> set[str]:
    folders = [Path(folder) for folder, _, _ in os.walk(root)]
    assert len(folders) > 4
    return {oct(stat.S_IMODE(folder.stat().st_mode)) for folder in folders}


def publish(root: Path, name: str, files: int = 4) -> None:
    contents = {f"{name}-{number}": f"{name} {number}".encode() for number in range(files)}
    open_store(root.as_uri()).publish_bytes(contents, MediaType.DATASET)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2775, 0o777])
def test_whoever_may_write_in_a_store_may_write_everywhere_in_it(tmp_path: Path, mode: int) -> None:
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(mode)
    publish(root, "a")
    assert modes(root) == {oct(mode)}


@pytest.fixture
def volume() -> Iterator[Path]:
    """A folder in which everybody may write; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes the right to be somebody else")
def test_what_one_account_began_another_one_goes_on_with(volume: Path) -> None:
    # So many that both have files in most of the folders.
    publish(volume, "by root", 120)
    other = os.fork()
    if not other:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            publish(volume, "by nobody", 120)
        except BaseException:  # noqa: BLE001 - the other process tells by its exit code
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0
    publish(volume, "by root again", 120)
