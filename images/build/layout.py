"""An OCI layout: the images in it, their manifests and sizes, and the removal of what no image needs any more."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["REFERENCE", "Blob", "StoredImage", "blob_path", "prune", "read_image", "settle"]

REFERENCE: Final = "org.opencontainers.image.ref.name"
"""The annotation that gives an image of a layout its name."""


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


def settle(layout: Path, reference: str, created: str) -> None:
    """Take out of an image what tells of the builder's cache and not of the image, and say when it was made.

    Otherwise the digest would depend on which layers the builder had: it notes the images of its own steps.
    """
    index = _index(layout)
    (entry,) = (each for each in index["manifests"] if each.get("annotations", {}).get(REFERENCE) == reference)
    manifest = _json(blob_path(layout, entry["digest"]))
    config = _json(blob_path(layout, manifest["config"]["digest"]))
    config["created"] = created
    for step in config.get("history", ()):
        step.pop("comment", None)
    manifest.pop("annotations", None)
    manifest["config"] |= _store(layout, config)
    entry |= _store(layout, manifest)
    (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")


def blob_path(layout: Path, digest: str) -> Path:
    """Where a layout keeps the file of this digest."""
    return layout.joinpath("blobs", *digest.split(":", 1))


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


def _store(layout: Path, content: Any) -> dict[str, Any]:
    """Write a document as a blob; gives what its descriptor says of it."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    blob_path(layout, digest).write_bytes(text)
    return {"digest": digest, "size": len(text)}


def _blob(descriptor: Mapping[str, Any]) -> Blob:
    return Blob(descriptor["digest"], descriptor["size"], descriptor["mediaType"])


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())
