"""What the store refuses, with the place, the fact and the remedy."""

import errno
import os
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_api.names import ExitCode
from plumbline_store import (
    ArtifactMissing,
    NewerLayout,
    NoSpace,
    NotPermitted,
    SourceUnusable,
    Store,
    StoreError,
    UnsupportedStore,
    open_store,
)
from plumbline_store.errors import in_plain_words
from tests.unit.store.places import CONTENT, Places


@pytest.mark.parametrize(
    ("uri", "remedy"),
    [
        ("oci://r/x", "supported are file:///absolute/path and s3://bucket/prefix"),
        ("/plain/path", "supported are"),
        ("", "supported are"),
        ("file://relative", "write file:///absolute/path"),
        ("file://host/x", "write file:///absolute/path"),
        ("s3://", "write s3://bucket/prefix"),
        ("s3:///prefix", "write s3://bucket/prefix"),
        ("s3://bucket/a/../b", "write s3://bucket/prefix"),
        ("s3://bucket/a//b", "write s3://bucket/prefix"),
        ("s3://bucket/a?versionId=1", "write s3://bucket/prefix"),
        ("s3://key:secret@bucket/a", "write s3://bucket/prefix"),
    ],
)
def test_an_address_that_leads_nowhere_says_how_to_write_it(uri: str, remedy: str) -> None:
    with pytest.raises(UnsupportedStore, match=remedy) as caught:
        open_store(uri)
    assert caught.value.exit_code == ExitCode.BAD_CONFIG


def test_a_newer_layout_is_refused_and_left_alone(places: Places, store: Store) -> None:
    store.publish_bytes(CONTENT, MediaType.MODEL)
    places.put("layout.json", b'{"version": 2}')
    with pytest.raises(NewerLayout, match="layout 2, this version reads 1; update Plumbline"):
        open_store(store.uri)
    with pytest.raises(NewerLayout):
        store.publish_bytes({"x": b""}, MediaType.DATASET)
    assert places.get("layout.json") == b'{"version": 2}'


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\x00\xff"])
def test_a_broken_layout_file_is_told(text: bytes, places: Places) -> None:
    places.put("layout.json", text)
    with pytest.raises(StoreError, match="not a layout file"):
        open_store(places.uri)


def test_a_place_with_other_things_does_not_become_a_store(places: Places, store: Store) -> None:
    places.put("thesis.tex", b"chapter one")
    with pytest.raises(StoreError, match=r"it holds thesis\.tex; choose an empty place"):
        store.publish_bytes(CONTENT, MediaType.MODEL)
    assert places.keys() == ["thesis.tex"]
    assert places.leftovers() == []


def test_links_and_special_files_are_refused(folder_store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceUnusable, match="in/link: a symbolic link"):
        folder_store.publish(folder, MediaType.DATASET)
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(SourceUnusable, match="in/pipe: not a regular file"):
        folder_store.publish(folder, MediaType.DATASET)
    (folder / "pipe").unlink()
    (folder / "sub").symlink_to(tmp_path)
    with pytest.raises(SourceUnusable, match="in/sub: a symbolic link"):
        folder_store.publish(folder, MediaType.DATASET)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "sub/optimizer.PT", "a.pkl", "a.pth", "a.ckpt"])
@pytest.mark.parametrize("media_type", [MediaType.MODEL, MediaType.ADAPTER])
def test_files_that_can_run_code_are_refused_in_models(
    name: str, media_type: MediaType, folder_store: Store, tmp_path: Path
) -> None:
    (tmp_path / "in" / name).parent.mkdir(parents=True)
    (tmp_path / "in" / name).write_bytes(b"")
    with pytest.raises(SourceUnusable, match=r"can run code .* save the weights as \.safetensors"):
        folder_store.publish(tmp_path / "in", media_type)
    with pytest.raises(SourceUnusable, match="can run code"):
        folder_store.publish_bytes({name: b""}, media_type)
    assert folder_store.publish_bytes({name: b""}, MediaType.DATASET).size == 0


def test_names_that_do_not_travel_are_refused(folder_store: Store, tmp_path: Path) -> None:
    for path in ["/abs", "a/../b", "a//b", "", "a\\b", "x" * 513]:
        with pytest.raises(SourceUnusable, match="does not travel"):
            folder_store.publish_bytes({path: b""}, MediaType.DATASET)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    with pytest.raises(SourceUnusable, match=r"caf\\udce9 does not travel"):
        folder_store.publish(folder, MediaType.DATASET)


def test_an_absent_or_empty_source_is_refused(places: Places, store: Store, tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match="nowhere: no such file"):
        store.publish(tmp_path / "nowhere", MediaType.MODEL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnusable, match="no file to publish"):
        store.publish(tmp_path / "empty", MediaType.MODEL)
    with pytest.raises(SourceUnusable, match="no file to publish"):
        store.publish_bytes({}, MediaType.MODEL)
    assert places.keys() == []


def test_an_unknown_artifact_or_file_is_missing(store: Store) -> None:
    with pytest.raises(ArtifactMissing, match="does not hold the artifact sha256:000"):
        store.manifest("sha256:" + "0" * 64)
    digest = store.publish_bytes(CONTENT, MediaType.MODEL).digest
    with pytest.raises(ArtifactMissing, match=r"no file other; it has config\.json"):
        store.read_file(digest, "other")


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "../../etc/passwd", "sha256:" + "0" * 63 + "/", "SHA256:" + "0" * 64]
)
def test_a_text_that_is_no_digest_is_missing_and_never_a_path(digest: str, folder_store: Store) -> None:
    with pytest.raises(ArtifactMissing, match="not a digest"):
        folder_store.manifest(digest)
    assert not folder_store.has(digest)


@pytest.mark.parametrize(
    ("code", "kind", "exit_code"),
    [
        (errno.ENOSPC, NoSpace, ExitCode.BAD_CONFIG),
        (errno.EDQUOT, NoSpace, ExitCode.BAD_CONFIG),
        (errno.EFBIG, NoSpace, ExitCode.BAD_CONFIG),
        (errno.EACCES, NotPermitted, ExitCode.NOT_PERMITTED),
        (errno.EROFS, NotPermitted, ExitCode.NOT_PERMITTED),
        (errno.EIO, StoreError, ExitCode.BAD_CONFIG),
    ],
)
def test_errors_of_the_system_are_told_in_plain_words(code: int, kind: type[StoreError], exit_code: int) -> None:
    with pytest.raises(kind, match=r"^/srv/store: ") as caught, in_plain_words(Path("/srv/store")):
        raise OSError(code, os.strerror(code))
    assert caught.value.exit_code == exit_code
    assert caught.value.remedy
