"""An OCI layout: the images in it, their manifests and sizes, and the removal of what no image needs any more."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from images.build.compression import MEDIA_TYPE, compress

__all__ = [
    "CREATED",
    "REFERENCE",
    "Blob",
    "StoredImage",
    "adopt",
    "blob_path",
    "link_or_copy",
    "plain_layers",
    "pretend",
    "prune",
    "read_image",
]

REFERENCE: Final = "org.opencontainers.image.ref.name"
"""The annotation that gives an image of a layout its name."""


CREATED: Final = "org.opencontainers.image.created"
"""The label that says when an image was made; its config says the same."""
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Blob:
    """A file of a layout."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True)
class StoredImage:
    """An image of a layout."""

    reference: str
    digest: str
    manifest_size: int
    config: Blob
    layers: tuple[Blob, ...]
    settings: Mapping[str, Any]
    """Its config file: user, environment, labels."""

    @property
    def compressed(self) -> int:
        """Bytes that a registry holds, and that a node without any of the layers pulls."""
        return self.manifest_size + self.config.size + sum(layer.size for layer in self.layers)


def read_image(layout: Path, reference: str) -> StoredImage:
    """The image of this name; raises KeyError where the layout has none."""
    found = {entry.get("annotations", {}).get(REFERENCE): entry for entry in _index(layout)["manifests"]}
    entry = found[reference]
    manifest = _json(blob_path(layout, entry["digest"]))
    config = _blob(manifest["config"])
    return StoredImage(
        reference=reference,
        digest=entry["digest"],
        manifest_size=entry["size"],
        config=config,
        layers=tuple(map(_blob, manifest["layers"])),
        settings=_json(blob_path(layout, config.digest)),
    )


def plain_layers(layout: Path) -> dict[str, Blob]:
    """The layers that a layout has, compressed as they are today, by the digest of what they are uncompressed."""
    found: dict[str, Blob] = {}
    for entry in _images(layout):
        image = read_image(layout, entry["annotations"][REFERENCE])
        found |= zip(image.settings["rootfs"]["diff_ids"], image.layers, strict=True)
    return {plain: layer for plain, layer in found.items() if layer.media_type == MEDIA_TYPE}


def adopt(raw: Path, layout: Path, reference: str, labels: Mapping[str, str], known: Mapping[str, Blob]) -> StoredImage:
    """Take the one image of a builder's layout, whose layers are not compressed, into ours.

    `known` are layers that our layout has already, by the digest of what they are uncompressed. What tells of the
    builder's cache and not of the image is left behind: otherwise the digest would depend on which layers the builder
    had, because it notes the images of its own steps. `labels` are set here for the same reason: buildah takes a
    labelled image of an earlier commit out of its cache, where no file has changed since.
    """
    (entry,) = _index(raw)["manifests"]
    found = _json(blob_path(raw, entry["digest"]))
    config = _json(blob_path(raw, found["config"]["digest"]))
    config["created"] = labels[CREATED]
    told = config["config"].get("Labels", {}) | labels
    config["config"]["Labels"] = {key: value for key, value in told.items() if value}
    for step in config.get("history", ()):
        step.pop("comment", None)
    (layout / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    layers = [known.get(plain) or _compressed(raw, plain, layout) for plain in config["rootfs"]["diff_ids"]]
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _store(layout, config, "application/vnd.oci.image.config.v1+json"),
        "layers": [_descriptor(layer) for layer in layers],
    }
    named = _store(layout, manifest, _MANIFEST) | {"annotations": {REFERENCE: reference}}
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")
    others = [each for each in _images(layout) if each.get("annotations", {}).get(REFERENCE) != reference]
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [*others, named]}
    (layout / "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    return read_image(layout, reference)


def pretend(raw: Path, known: Iterable[str]) -> None:
    """Let a layout look as if it had these layers, so that a builder does not write them again."""
    for digest in known:
        path = blob_path(raw, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def blob_path(layout: Path, digest: str) -> Path:
    """Where a layout keeps the file of this digest."""
    return layout.joinpath("blobs", *digest.split(":", 1))


def link_or_copy(source: Path, target: Path) -> None:
    """Bring a blob elsewhere, by a link where one can be made: layers are gigabytes, and are never changed."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def prune(layout: Path) -> int:
    """Remove the files that no image of the index needs; gives their bytes."""
    needed: set[str] = set()
    for entry in _index(layout)["manifests"]:
        manifest = _json(blob_path(layout, entry["digest"]))
        needed |= {entry["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    freed = 0
    for path in (layout / "blobs").glob("*/*"):
        if f"{path.parent.name}:{path.name}" not in needed:
            freed += path.stat().st_size
            path.unlink()
    return freed


def _index(layout: Path) -> Any:
    return _json(layout / "index.json")


def _compressed(raw: Path, plain: str, layout: Path) -> Blob:
    target = layout / f".{plain.rpartition(':')[2]}"
    digest, size = compress(blob_path(raw, plain), target)
    target.rename(blob_path(layout, digest))
    return Blob(digest, size, MEDIA_TYPE)


def _store(layout: Path, content: Any, media_type: str) -> dict[str, Any]:
    """Write a document as a blob; gives its descriptor."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    blob = Blob(f"sha256:{hashlib.sha256(text).hexdigest()}", len(text), media_type)
    blob_path(layout, blob.digest).write_bytes(text)
    return _descriptor(blob)


def _descriptor(blob: Blob) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def _images(layout: Path) -> list[dict[str, Any]]:
    return list(_index(layout)["manifests"]) if (layout / "index.json").exists() else []


def _blob(descriptor: Mapping[str, Any]) -> Blob:
    return Blob(descriptor["digest"], descriptor["size"], descriptor["mediaType"])


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())
