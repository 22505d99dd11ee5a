"""Layouts, layers, archives and bills of materials."""

import hashlib
import io
import json
import os
import random
import tarfile
from pathlib import Path

import pytest
import zstandard

from images.build.archive import Entry, read_archive, write_archive
from images.build.compression import compress, plain
from images.build.contents import Component, Contents, merge, read_layer
from images.build.debian import is_left_out
from images.build.layout import CREATED, REFERENCE, Blob, adopt, blob_path, plain_layers, pretend, prune, read_image
from images.build.sbom import describe

LABELS = {CREATED: "2025-11-21T20:00:00Z", "revision": "new", "source": ""}
METADATA = "Metadata-Version: 2.4\nName: typing_extensions\nVersion: 4.16.0\nLicense-Expression: PSF-2.0\n\nA text.\n"
STATUS = "Package: libc6\nVersion: 2.36-9\nArchitecture: amd64\nDescription: x\n Package: none\n"
FILES = {
    "opt/plumbline/lib/python3.11/site-packages/typing_extensions-4.16.0.dist-info/METADATA": METADATA,
    "var/lib/dpkg/status.d/libc6": STATUS,
    "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "usr/bin/program": "x" * 1000,
}


def store(layout: Path, content: bytes) -> Blob:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = blob_path(layout, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Blob(digest, len(content), "application/octet-stream")


def packed(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return zstandard.compress(buffer.getvalue())


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """A layout with one image of one layer."""
    folder = tmp_path / "oci"
    layer = store(folder, packed(FILES))
    config = store(folder, json.dumps({"config": {"User": "65532:65532"}}).encode())
    described = [{"digest": each.digest, "size": each.size, "mediaType": each.media_type} for each in (config, layer)]
    manifest = store(folder, json.dumps({"config": described[0], "layers": [described[1]]}).encode())
    entry = {"digest": manifest.digest, "size": manifest.size, "annotations": {REFERENCE: "guard"}}
    (folder / "index.json").write_text(json.dumps({"manifests": [entry]}))
    return folder


def test_an_image_of_a_layout_is_found_by_its_name(layout: Path) -> None:
    image = read_image(layout, "guard")
    assert image.settings["config"]["User"] == "65532:65532"
    assert image.compressed == sum(path.stat().st_size for path in layout.glob("blobs/*/*"))


def built(folder: Path, plain: list[bytes], note: str) -> Path:
    """What a builder writes: plain layers, and notes of its own."""
    layers = [store(folder, content) for content in plain]
    config = store(
        folder,
        json.dumps(
            {
                "created": note,
                "config": {"User": "65532:65532", "Labels": {"title": "guard", "revision": note}},
                "history": [{"created_by": "COPY", "comment": note}],
                "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            }
        ).encode(),
    )
    described = [{"digest": each.digest, "size": each.size, "mediaType": "x"} for each in (config, *layers)]
    noted = {
        "config": described[0],
        "layers": described[1:],
        "annotations": {"org.opencontainers.image.base.digest": note},
    }
    manifest = store(folder, json.dumps(noted).encode())
    (folder / "index.json").write_text(json.dumps({"manifests": [{"digest": manifest.digest, "size": manifest.size}]}))
    return folder


def test_a_digest_depends_on_no_note_of_the_builder(tmp_path: Path) -> None:
    images = [
        adopt(built(tmp_path / note, [b"base", b"own"], note), tmp_path / f"oci-{note}", "guard", LABELS, {})
        for note in ("one", "two")
    ]
    assert images[0].digest == images[1].digest
    assert images[0].settings["created"] == "2025-11-21T20:00:00Z"
    assert images[0].settings["history"] == [{"created_by": "COPY"}]
    labels = {"title": "guard", CREATED: "2025-11-21T20:00:00Z", "revision": "new"}
    assert images[0].settings["config"] == {"User": "65532:65532", "Labels": labels}


def test_a_layer_that_is_there_is_taken_and_not_compressed_again(tmp_path: Path) -> None:
    layout = tmp_path / "oci"
    first = adopt(built(tmp_path / "first", [b"base", b"own"], "a"), layout, "trainer", LABELS, {})
    known = plain_layers(layout)
    raw = built(tmp_path / "second", [b"base", b"changed"], "b")
    base = next(iter(known))
    blob_path(raw, base).write_bytes(b"")
    second = adopt(raw, layout, "engine", LABELS, known)
    assert second.layers[0] == first.layers[0]
    assert second.layers[1] != first.layers[1]
    with plain(blob_path(layout, second.layers[1].digest)) as stream:
        assert stream.read() == b"changed"
    assert read_image(layout, "trainer") == first


def test_an_image_replaces_the_one_of_its_name_and_nothing_stays_behind(tmp_path: Path) -> None:
    layout = tmp_path / "oci"
    adopt(built(tmp_path / "first", [b"old"], "a"), layout, "guard", LABELS, {})
    adopt(built(tmp_path / "second", [b"new"], "b"), layout, "guard", LABELS, {})
    assert prune(layout) > 0
    assert len(json.loads((layout / "index.json").read_text())["manifests"]) == 1
    assert len(list(layout.glob("blobs/*/*"))) == 3


def test_a_builder_is_told_of_layers_that_need_not_be_written(tmp_path: Path) -> None:
    pretend(tmp_path, ["sha256:aa", "sha256:bb"])
    assert sorted(path.name for path in tmp_path.glob("blobs/sha256/*")) == ["aa", "bb"]


def test_a_layer_that_was_compressed_in_another_way_is_compressed_anew(tmp_path: Path) -> None:
    layout = tmp_path / "oci"
    image = adopt(built(tmp_path / "first", [b"base"], "a"), layout, "trainer", LABELS, {})
    manifest = blob_path(layout, image.digest)
    manifest.write_text(manifest.read_text().replace("tar+zstd", "tar+gzip"))
    assert plain_layers(layout) == {}


@pytest.mark.parametrize("size", [0, 1, 131_072, 9 << 20])
def test_compressed_on_all_cores_it_is_one_stream_that_anybody_reads(tmp_path: Path, size: int) -> None:
    content = (b"0123456789abcdef" * 8191 + bytes(range(256))) * (size // 131312 + 1)
    (tmp_path / "plain").write_bytes(content[:size])
    digest, length = compress(tmp_path / "plain", tmp_path / "packed")
    packed = (tmp_path / "packed").read_bytes()
    assert (digest, length) == (f"sha256:{hashlib.sha256(packed).hexdigest()}", len(packed))
    stream = zstandard.ZstdDecompressor().decompressobj()
    assert stream.decompress(packed) == content[:size]
    assert stream.eof
    assert stream.unused_data == b""


@pytest.mark.parametrize("cores", [1, 2, 3, 64])
def test_the_number_of_cores_makes_no_difference(tmp_path: Path, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain").write_bytes(random.Random(1).randbytes(3 << 20) * 8)
    usual = compress(tmp_path / "plain", tmp_path / "packed")
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert compress(tmp_path / "plain", tmp_path / "packed") == usual


def test_what_no_image_needs_is_removed(layout: Path) -> None:
    orphan = store(layout, b"of an older build")
    assert prune(layout) == orphan.size
    assert not blob_path(layout, orphan.digest).exists()
    assert read_image(layout, "guard").layers


def test_a_layer_tells_its_packages_and_size_and_is_read_once(layout: Path, tmp_path: Path) -> None:
    (layer,) = read_image(layout, "guard").layers
    first = read_layer(layout, layer, tmp_path / "memory")
    blob_path(layout, layer.digest).unlink()
    assert read_layer(layout, layer, tmp_path / "memory") == first
    assert first == Contents(
        unpacked=sum(map(len, FILES.values())),
        files=len(FILES),
        components=(
            Component("deb", "libc6", "2.36-9", architecture="amd64"),
            Component("pypi", "typing-extensions", "4.16.0", "PSF-2.0"),
        ),
        release="debian-12",
    )


def test_layers_add_up() -> None:
    one = Contents(10, 1, (Component("pypi", "b", "1"),), "debian-12")
    both = merge([one, Contents(5, 2, (Component("pypi", "a", "1"), Component("pypi", "b", "1")))])
    assert (both.unpacked, both.files, both.release) == (15, 3, "debian-12")
    assert [component.name for component in both.components] == ["a", "b"]


def test_a_bill_of_materials_names_every_package_and_is_the_same_each_time() -> None:
    contents = Contents(1, 1, (Component("deb", "libc6", "2.36-9+x", architecture="amd64"),), "debian-12")
    text = describe("plumbline-guard", "0.1.0", "sha256:" + "0" * 64, contents, made=1763755200)
    bill = json.loads(text)
    assert text == describe("plumbline-guard", "0.1.0", "sha256:" + "0" * 64, contents, made=1763755200)
    assert bill["specVersion"] == "1.6"
    assert bill["metadata"]["component"]["type"] == "container"
    assert [each["purl"] for each in bill["components"]] == [
        "pkg:deb/debian/libc6@2.36-9%2Bx?arch=amd64&distro=debian-12"
    ]


def test_an_archive_depends_on_its_entries_alone(tmp_path: Path) -> None:
    entries = {"usr/bin/b": Entry(b"b", 0o755), "a": Entry(link="usr/bin/b"), "tmp": Entry(mode=0o1777, folder=True)}
    write_archive(tmp_path / "one.tar", entries, epoch=7)
    write_archive(tmp_path / "two.tar", dict(reversed(entries.items())), epoch=7)
    content = (tmp_path / "one.tar").read_bytes()
    assert content == (tmp_path / "two.tar").read_bytes()
    read = dict(read_archive(content))
    assert {name: read[name] for name in entries} == {**entries, "a": Entry(link="usr/bin/b")}
    assert set(read) - set(entries) == {"usr", "usr/bin"}


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("usr/share/doc/libc6/copyright", False),
        ("usr/share/doc/libc6/changelog.Debian.gz", True),
        ("usr/share/man/man1/a.1.gz", True),
        ("usr/lib/python3.11/json/decoder.py", False),
        ("usr/lib/python3.11/idlelib/run.py", True),
        ("usr/lib/python3.11/lib-dynload/readline.cpython-311-x86_64-linux-gnu.so", True),
        ("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", False),
        ("usr/lib/x86_64-linux-gnu/gconv/EUC-KR.so", True),
    ],
)
def test_the_base_has_licences_and_no_manuals(name: str, left_out: bool) -> None:  # noqa: FBT001
    assert is_left_out(name) is left_out
