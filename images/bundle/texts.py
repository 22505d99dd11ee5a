"""The small files of a bundle: values, a list for shells, licences, manifests for Zarf and for Hauler. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from plumbline_operator.bundle.files import CHARTS, CRDS, LAYOUT, VALUES
from plumbline_operator.bundle.needed import NeededImage
from plumbline_operator.bundle.push import tag_of

__all__ = ["hauler_manifest", "image_list", "third_parties", "values_of", "zarf_manifest"]


def values_of(images: Iterable[NeededImage]) -> str:
    """Values for `helm install -f`."""
    said = (
        "# Every image by its digest; written by make bundle. The registry is yours to say:\n"
        "# --set global.imageRegistry=registry.internal\n"
    )
    named = {image.name: {"repository": image.repository, "digest": image.digest} for image in images}
    return said + yaml.safe_dump({"images": named}, sort_keys=False)


def image_list(images: Iterable[NeededImage]) -> str:
    """A line for each image: its name in the layout, repository, tag, digest."""
    return "".join(f"{image.name} {image.repository} {tag_of(image)} {image.digest}\n" for image in images)


def third_parties(bills: Mapping[str, bytes]) -> str:
    """Whose software is in which image, under which licence, from the bills of materials by image."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for image, bill in sorted(bills.items()):
        for part in json.loads(bill).get("components", ()):
            found.setdefault((part["name"], part["version"], _licences(part)), []).append(image)
    rows = [
        f"| {name} | {version} | {licence} | {', '.join(images)} |"
        for (name, version, licence), images in sorted(found.items())
    ]
    head = [
        "# Software of others in the images",
        "",
        "As the packages say themselves; a dash where they name none. The texts are in the images:",
        "of Debian's packages in `/usr/share/doc/NAME/copyright`, of Python's in `NAME-VERSION.dist-info`.",
        "",
        "| Package | Version | Licence | Images |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


def _licences(part: Mapping[str, Any]) -> str:
    each = [
        one.get("expression") or one.get("license", {}).get("id") or one.get("license", {}).get("name", "")
        for one in part.get("licenses", ())
    ]
    return " AND ".join(filter(None, each)).replace("|", "/").replace("\n", " ") or "-"


def zarf_manifest(version: str, architecture: str, images: Sequence[NeededImage]) -> str:
    """For `zarf package create`, in the folder of the bundle. It takes archives of layouts, and makes one beside it."""
    archive = f"../plumbline-{version}-images.tar"
    component = {
        "name": "plumbline",
        "description": "CRDs, operator, and the images of all pods that it makes",
        "required": True,
        "charts": [
            {
                "name": "plumbline",
                "version": version,
                "localPath": f"{CHARTS}/plumbline-{version}.tgz",
                "namespace": "plumbline",
                "valuesFiles": [VALUES],
            }
        ],
        "imageArchives": [{"path": archive, "images": [image.reference for image in images]}],
        "actions": {"onCreate": {"before": [{"cmd": f"tar --create --file {archive} --directory {LAYOUT} ."}]}},
    }
    metadata = {"name": "plumbline", "version": version, "architecture": architecture}
    return yaml.safe_dump(
        {"kind": "ZarfPackageConfig", "metadata": metadata, "components": [component]}, sort_keys=False, width=120
    )


def hauler_manifest(version: str, images: Sequence[NeededImage], crds: Sequence[str]) -> str:
    """For `hauler store sync`, in the folder of the bundle. Hauler takes images from a registry alone."""
    contents = {
        "Images": {"images": [{"name": image.reference} for image in images]},
        "Charts": {"charts": [{"name": f"plumbline-{version}.tgz", "repoURL": CHARTS}]},
        "Files": {"files": [{"path": path} for path in (VALUES, *(f"{CRDS}/{name}" for name in crds))]},
    }
    documents = [
        {
            "apiVersion": "content.hauler.cattle.io/v1",
            "kind": kind,
            "metadata": {"name": f"plumbline-{kind.lower()}"},
            "spec": spec,
        }
        for kind, spec in contents.items()
    ]
    return yaml.safe_dump_all(documents, sort_keys=False, width=120)
