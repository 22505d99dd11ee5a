"""What the store refuses, with the place, the fact and the remedy."""

import errno
import os
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_api.names import ExitCode
from plumbline_store import (
    ArtifactMissing,
    FileStore,
    NewerLayout,
    NoSpace,
    NotPermitted,
    SourceUnusable,
    StoreError,
    UnsupportedStore,
    open_store,
)
from plumbline_store.errors import in_plain_words
from tests.unit.store.places import CONTENT, root


@pytest.mark.parametrize("uri", ["s3://bucket/x", "oci://r/x", "/plain/path", "file://relative", "file://host/x", ""])
def test_an_address_of_another_kind_says_which_are_supported(uri: str) -> None:
    with pytest.raises(UnsupportedStore, match="supported is file:///absolute/path") as caught:
        open_store(uri)
    assert caught.value.exit_code == ExitCode.BAD_CONFIG


def test_a_newer_layout_is_refused_and_left_alone(store: FileStore) -> None:
    store.publish_bytes(CONTENT, MediaType.MODEL)
    mark = root(store) / "layout.json"
    mark.chmod(0o644)
    mark.write_text('{"version": 2}')
    with pytest.raises(NewerLayout, match="layout 2, this version reads 1; update Plumbline"):
        open_store(store.uri)
    with pytest.raises(NewerLayout):
        store.publish_bytes({"x": b""}, MediaType.DATASET)
    assert mark.read_text() == '{"version": 2}'


@pytest.mark.parametrize("text", ["", "{}", "[1]", "\x00\xff"])
def test_a_broken_layout_file_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "layout.json").write_text(text)
    with pytest.raises(StoreError, match="not a layout file"):
        open_store(f"file://{tmp_path}")


def test_a_folder_with_other_things_does_not_become_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    store = open_store(f"file://{tmp_path}")
    with pytest.raises(StoreError, match=r"it holds thesis\.tex; choose an empty folder"):
        store.publish_bytes(CONTENT, MediaType.MODEL)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_links_and_special_files_are_refused(store: FileStore, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceUnusable, match="in/link: a symbolic link"):
        store.publish(folder, MediaType.DATASET)
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(SourceUnusable, match="in/pipe: not a regular file"):
        store.publish(folder, MediaType.DATASET)
    (folder / "pipe").unlink()
    (folder / "sub").symlink_to(tmp_path)
    with pytest.raises(SourceUnusable, match="in/sub: a symbolic link"):
        store.publish(folder, MediaType.DATASET)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "sub/optimizer.PT", "a.pkl", "a.pth", "a.ckpt"])
@pytest.mark.parametrize("media_type", [MediaType.MODEL, MediaType.ADAPTER])
def test_files_that_can_run_code_are_refused_in_models(
    name: str, media_type: MediaType, store: FileStore, tmp_path: Path
) -> None:
    (tmp_path / "in" / name).parent.mkdir(parents=True)
    (tmp_path / "in" / name).write_bytes(b"")
    with pytest.raises(SourceUnusable, match=r"can run code .* save the weights as \.safetensors"):
        store.publish(tmp_path / "in", media_type)
    with pytest.raises(SourceUnusable, match="can run code"):
        store.publish_bytes({name: b""}, media_type)
    assert store.publish_bytes({name: b""}, MediaType.DATASET).size == 0


def test_names_that_do_not_travel_are_refused(store: FileStore, tmp_path: Path) -> None:
    for path in ["/abs", "a/../b", "a//b", "", "a\\b", "x" * 513]:
        with pytest.raises(SourceUnusable, match="does not travel"):
            store.publish_bytes({path: b""}, MediaType.DATASET)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    with pytest.raises(SourceUnusable, match=r"caf\\udce9 does not travel"):
        store.publish(folder, MediaType.DATASET)


def test_an_absent_or_empty_source_is_refused(store: FileStore, tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match="nowhere: no such file"):
        store.publish(tmp_path / "nowhere", MediaType.MODEL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnusable, match="no file to publish"):
        store.publish(tmp_path / "empty", MediaType.MODEL)
    with pytest.raises(SourceUnusable, match="no file to publish"):
        store.publish_bytes({}, MediaType.MODEL)
    assert not root(store).exists()


def test_an_unknown_artifact_or_file_is_missing(store: FileStore) -> None:
    with pytest.raises(ArtifactMissing, match="does not hold the artifact sha256:000"):
        store.manifest("sha256:" + "0" * 64)
    digest = store.publish_bytes(CONTENT, MediaType.MODEL).digest
    with pytest.raises(ArtifactMissing, match=r"no file other; it has config\.json"):
        store.read_file(digest, "other")


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "../../etc/passwd", "sha256:" + "0" * 63 + "/", "SHA256:" + "0" * 64]
)
def test_a_text_that_is_no_digest_is_missing_and_never_a_path(digest: str, store: FileStore) -> None:
    with pytest.raises(ArtifactMissing, match="not a digest"):
        store.manifest(digest)
    assert not store.has(digest)


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
