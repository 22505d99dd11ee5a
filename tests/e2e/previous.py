"""A release before the present one, which nobody has made: the same programs under another version.

Every image has another config and so another digest; its layers are the same files, linked and not copied. The chart
has an earlier version, and its CRDs lack a field.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from images.build.layout import REFERENCE, blob_path, link_or_copy, read_image
from images.build.workshop import LAYOUT, Record
from images.bundle.writer import Sources

__all__ = ["ADDED", "VERSION", "earlier_sources"]

VERSION = "0.0.9"
ADDED = "systemPrompt"
"""The field of a GuardedInference's guard that the earlier CRD does not have."""
_LABEL = "org.opencontainers.image.version"
_CHART = "charts/plumbline"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def earlier_sources(present: Sources, folder: Path) -> Sources:
    """What a bundle of the earlier release is made of, in a new folder."""
    checkout, images = folder / "checkout", folder / "images"
    _copy_checkout(present.checkout, checkout)
    (images / LAYOUT / "blobs/sha256").mkdir(parents=True)
    entries, records = [], {}
    for name, record in present.records.items():
        entry = _renamed(present.images / record.layout, record.reference, images / LAYOUT)
        entries.append(entry)
        records[name] = replace(record, version=VERSION, digest=entry["digest"], layout=LAYOUT)
        shutil.copy(present.images / record.sbom, images / record.sbom)
    _write_index(images / LAYOUT, entries)
    return Sources(checkout, images, _checked(present.records, records))


def _copy_checkout(source: Path, target: Path) -> None:
    """The parts of a checkout that a bundle has in it, as they were."""
    shutil.copytree(source / _CHART, target / _CHART)
    for place in ("crds", "docs"):
        (target / place).mkdir()
    for path in (*(source / "crds").glob("*.yaml"), source / "LICENSE", source / "docs/airgap.md"):
        shutil.copy(path, target / path.relative_to(source))
    chart = target / _CHART / "Chart.yaml"
    lines = chart.read_text(encoding="utf-8").splitlines()
    ours = ("version:", "appVersion:")
    changed = [f"{line.partition(':')[0]}: {VERSION}" if line.startswith(ours) else line for line in lines]
    chart.write_text("\n".join(changed) + "\n", encoding="utf-8")
    for folder in (target / "crds", target / _CHART / "templates/crds"):
        path = folder / "guardedinferences.plumbline.dev.yaml"
        path.write_text(_without(path.read_text(encoding="utf-8"), ADDED), encoding="utf-8")


def _without(text: str, field: str) -> str:
    """A YAML text without the block of a key."""
    kept: list[str] = []
    depth: int | None = None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if depth is not None and indent > depth:
            continue
        depth = indent if line.strip() == f"{field}:" else None
        if depth is None:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _renamed(layout: Path, reference: str, target: Path) -> dict[str, Any]:
    """Write an image with another version into another layout; the layout's entry for it."""
    image = read_image(layout, reference)
    for layer in image.layers:
        link_or_copy(blob_path(layout, layer.digest), blob_path(target, layer.digest))
    settings = json.loads(json.dumps(image.settings))
    settings["config"].setdefault("Labels", {})[_LABEL] = VERSION
    manifest = json.loads(blob_path(layout, image.digest).read_bytes())
    manifest["config"] |= _store(target, settings)
    return _store(target, manifest) | {"mediaType": _MANIFEST, "annotations": {REFERENCE: reference}}


def _store(layout: Path, content: object) -> dict[str, Any]:
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    blob_path(layout, digest).write_bytes(text)
    return {"digest": digest, "size": len(text)}


def _write_index(layout: Path, entries: list[dict[str, Any]]) -> None:
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")


def _checked(before: Mapping[str, Record], after: Mapping[str, Record]) -> Mapping[str, Record]:
    assert all(after[name].digest != record.digest for name, record in before.items())
    return after
