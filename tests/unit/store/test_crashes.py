"""Real processes: killed in the middle, side by side, and on a full disk."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_store import NoSpace, Store, open_store
from tests.support.checkout import ROOT
from tests.unit.store.places import CONTENT, FolderPlaces, Places, blobs, digest_of, manifests

pytestmark = pytest.mark.local


def start(store: Store, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.unit.store.writer", store.uri, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill_after(writer: "subprocess.Popen[str]", lines: int) -> list[str]:
    """Kill -9 as soon as so many lines were read, that is in the middle of the next piece of work."""
    assert writer.stdout is not None
    with writer:
        found = [writer.stdout.readline().strip() for _ in range(lines)]
        writer.kill()
        return found + writer.stdout.read().split()


def test_nothing_half_written_is_visible_after_kill_9(places: Places, store: Store) -> None:
    for lines in range(4):
        published = kill_after(start(store, "forever"), lines)
        assert len(published) >= lines
        for digest in published:
            store.verify(digest)
        for manifest in manifests(places):
            store.verify(digest_of(manifest))
    store.publish_bytes(CONTENT, MediaType.MODEL)
    assert places.leftovers() == []


def test_a_checkout_is_complete_or_absent_after_kill_9(store: Store, tmp_path: Path) -> None:
    ref = store.publish_bytes({f"part-{part}": bytes([part]) * 500_000 for part in range(8)}, MediaType.MODEL)
    out = tmp_path / "out"
    kill_after(start(store, "checkout", ref.digest, str(out)), 2)
    for folder in out.iterdir():
        if not folder.name.startswith("."):
            store.checkout(ref.digest, folder)  # verifies what is there


def test_writers_side_by_side_agree(places: Places, store: Store) -> None:
    writers = [start(store, "same") for _ in range(3)]
    outputs = [writer.communicate(timeout=60)[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert outputs[0] == outputs[1] == outputs[2]
    for digest in outputs[0]:
        store.verify(digest)
    assert len(blobs(places)) == 9
    assert places.leftovers() == []


def test_a_file_size_limit_is_no_space_and_leaves_nothing(folder_places: FolderPlaces) -> None:
    store = open_store(folder_places.uri)
    output, _ = start(store, "too-much").communicate(timeout=60)
    assert "no space left" in output
    assert "free space or choose another folder" in output
    assert (blobs(folder_places), manifests(folder_places), folder_places.leftovers()) == ([], [], [])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


def test_a_full_disk_is_no_space_and_leaves_nothing(small_disk: Path) -> None:
    places = FolderPlaces(small_disk / "store")
    store = open_store(places.uri)
    kept = store.publish_bytes(CONTENT, MediaType.MODEL)
    before = blobs(places)
    with pytest.raises(NoSpace):
        store.publish_bytes({"a": b"a" * 500_000, "b": b"b" * 900_000}, MediaType.MODEL)
    assert (blobs(places), places.leftovers()) == (before, [])
    store.verify(kept.digest)
    with pytest.raises(NoSpace):
        store.checkout(fill(store), small_disk / "out")
    assert sorted(path.name for path in small_disk.iterdir()) == ["store"]


def fill(store: Store) -> str:
    return store.publish_bytes({"half": b"h" * 600_000}, MediaType.MODEL).digest
