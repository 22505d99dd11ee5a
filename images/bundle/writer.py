"""Puts a bundle together: images by digest, chart, CRDs, bills of materials, licences, sums, signature.

It is written beside its place and moved there when it is whole. Nothing in it depends on when or where it was made.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from images.build.errors import BuildError
from images.build.layout import link_or_copy
from images.build.workshop import Record
from images.bundle.chart import pack_chart
from images.bundle.texts import hauler_manifest, image_list, third_parties, values_of, zarf_manifest
from plumbline_api.names import ExitCode
from plumbline_operator.bundle.files import (
    CHARTS,
    CRDS,
    IMAGE_LIST,
    LAYOUT,
    LICENCES,
    SBOMS,
    SIGNATURE,
    SUMS,
    VALUES,
    files_in,
    sum_of,
    sums_text,
)
from plumbline_operator.bundle.layout import REFERENCE, Layout, Part
from plumbline_operator.bundle.needed import NeededImage, needed_images
from plumbline_operator.bundle.signature import PrivateKey, sign

__all__ = ["Sources", "write_bundle"]

_CONTAINERD: Final = "io.containerd.image.name"
"""By which containerd's import and Zarf name an image of a layout."""
_SCRIPT: Final = Path(__file__).parent / "import.sh"


@dataclass(frozen=True)
class Sources:
    """What a bundle is made of."""

    checkout: Path
    images: Path
    """What `make images` wrote."""
    records: Mapping[str, Record]
    """And what it wrote down, by the name of the image."""


def write_bundle(sources: Sources, output: Path, key: PrivateKey | None) -> Path:
    """Write the bundle; gives its folder. One of the same version is replaced.

    Raises:
        BuildError: An image is missing, of another version, or not what its record says.
        BundleError: The layout is damaged.
    """
    chart = sources.checkout / "charts/plumbline"
    version = str(yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"])
    images = _chosen(sources, chart, version)
    folder = output / f"plumbline-{version}"
    partial = output / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    architecture = _copy_images(sources, images, partial / LAYOUT)
    for name, content in _texts(sources, chart, version, images, architecture).items():
        path = partial / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (partial / _SCRIPT.name).chmod(0o755)
    _seal(partial, key)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def _chosen(sources: Sources, chart: Path, version: str) -> tuple[NeededImage, ...]:
    """Every image that the chart can use, by the digest of the newest build."""
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    needed = needed_images(values, version)
    missing = [image.name for image in needed if image.name not in sources.records]
    if missing:
        names = ",".join(missing)
        raise BuildError(f"{sources.images} lacks {names}; build: make images ONLY={names}", ExitCode.BAD_DATA)
    old = [image.name for image in needed if sources.records[image.name].version != version]
    if old:
        names = ",".join(old)
        fact = f"{sources.images} has {names} of another version than the chart's {version}"
        raise BuildError(f"{fact}; build: make images ONLY={names}", ExitCode.BAD_DATA)
    return tuple(replace(image, digest=sources.records[image.name].digest) for image in needed)


def _copy_images(sources: Sources, images: Sequence[NeededImage], target: Path) -> str:
    """The images and nothing else of the layout they are in; gives the architecture that they are for."""
    entries, architectures = [], set()
    blobs = target / "blobs/sha256"
    blobs.mkdir(parents=True)
    for image in images:
        record = sources.records[image.name]
        layout = Layout(sources.images / record.layout)
        stored = layout.images().get(record.reference)
        if stored is None or stored.digest != image.digest:
            remedy = f"build it anew: make images ONLY={image.name}"
            raise BuildError(f"{layout.folder} does not hold {image.name} {image.digest}; {remedy}", ExitCode.BAD_DATA)
        parts = layout.parts(stored)
        for part in parts:
            link_or_copy(layout.path(part.digest), blobs / part.digest.removeprefix("sha256:"))
        architectures |= {_architecture(layout, part) for part in parts if "config" in part.media_type}
        entries.append(_entry(image, stored))
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    (target / "index.json").write_bytes(_json(index))
    (target / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return ",".join(sorted(architectures))


def _entry(image: NeededImage, stored: Part) -> dict[str, Any]:
    names = {REFERENCE: image.name, _CONTAINERD: image.reference}
    return {"mediaType": stored.media_type, "digest": stored.digest, "size": stored.size, "annotations": names}


def _architecture(layout: Layout, config: Part) -> str:
    return str(json.loads(layout.path(config.digest).read_bytes()).get("architecture", ""))


def _texts(
    sources: Sources, chart: Path, version: str, images: Sequence[NeededImage], architecture: str
) -> Mapping[str, bytes]:
    """Every file but those of the layout."""
    crds = sorted((sources.checkout / "crds").glob("*.yaml"))
    bills = {image.name: (sources.images / sources.records[image.name].sbom).read_bytes() for image in images}
    written = {
        VALUES: values_of(images),
        IMAGE_LIST: image_list(images),
        "zarf.yaml": zarf_manifest(version, architecture, images),
        "hauler.yaml": hauler_manifest(version, images, [path.name for path in crds]),
        f"{LICENCES}/THIRD-PARTY.md": third_parties(bills),
    }
    return {
        **{name: text.encode() for name, text in written.items()},
        **{f"{CRDS}/{path.name}": path.read_bytes() for path in crds},
        **{f"{SBOMS}/{name}.cdx.json": bill for name, bill in bills.items()},
        f"{CHARTS}/plumbline-{version}.tgz": pack_chart(chart),
        f"{LICENCES}/LICENSE": (sources.checkout / "LICENSE").read_bytes(),
        "README.md": (sources.checkout / "docs/airgap.md").read_bytes(),
        _SCRIPT.name: _SCRIPT.read_bytes(),
    }


def _seal(folder: Path, key: PrivateKey | None) -> None:
    """List every file with its sum, and sign the list."""
    sums = {name: sum_of(folder / name) for name in files_in(folder)}
    wrong = [name for name, found in sums.items() if "/blobs/" in name and not name.endswith(found)]
    if wrong:
        remedy = "make the images anew: make images FLAGS=--again"
        raise BuildError(f"{wrong[0]} does not have the digest of its name; {remedy}", ExitCode.BAD_DATA)
    content = sums_text(sums).encode()
    (folder / SUMS).write_bytes(content)
    if key is not None:
        (folder / SIGNATURE).write_bytes(sign(key, content))


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
