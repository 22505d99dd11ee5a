"""Writes an image of a few files as an OCI layout, the same bytes each time."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Image", "write_layout"]

MEDIA = "application/vnd.oci.image"
NAME = "io.containerd.image.name"
"""Read by containerd's import: the whole name of the image."""


@dataclass(frozen=True)
class Image:
    """What an image holds and how it starts."""

    files: Mapping[str, bytes]
    """By their paths without the leading slash; all of them executable."""
    entry: tuple[str, ...]
    user: str = ""


def write_layout(folder: Path, image: Image, name: str = "") -> str:
    """Write the layout into a new folder; the digest of the manifest."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    files = _tar(image.files)
    layer = _blob(blobs, gzip.compress(files, mtime=0), f"{MEDIA}.layer.v1.tar+gzip")
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(image.entry), "User": image.user},
        "rootfs": {"type": "layers", "diff_ids": [_digest(files)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": _blob(blobs, _json(config), f"{MEDIA}.config.v1+json"),
        "layers": [layer],
    }
    shown = _blob(blobs, _json(manifest), f"{MEDIA}.manifest.v1+json")
    named = {**shown, "annotations": {NAME: name}} if name else shown
    index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": [named]}
    (folder / "index.json").write_bytes(_json(index))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return str(shown["digest"])


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _blob(blobs: Path, content: bytes, media: str) -> dict[str, Any]:
    digest = _digest(content)
    (blobs / digest.removeprefix("sha256:")).write_bytes(content)
    return {"mediaType": media, "digest": digest, "size": len(content)}


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
