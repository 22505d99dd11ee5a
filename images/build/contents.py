"""What is in the layers of an image: how large it is unpacked, and which Debian and Python packages it holds.

A layer is read once and remembered by its digest, because reading torch takes a minute.
"""

import json
import re
import tarfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from email.parser import Parser
from pathlib import Path
from typing import Final

from images.build.compression import plain
from images.build.layout import Blob, blob_path

__all__ = ["Component", "Contents", "merge", "read_layer"]

_METADATA: Final = re.compile(r"(.*/)?site-packages/[^/]+\.dist-info/METADATA$")
_STATUS: Final = re.compile(r"var/lib/dpkg/(status|status\.d/[^/]+)$")
_RELEASE: Final = re.compile(r"(etc|usr/lib)/os-release$")
_FORMAT: Final = 1
"""Of the remembered files; one of another is read anew."""


@dataclass(frozen=True, order=True)
class Component:
    """A package that is in an image."""

    kind: str
    """`deb` or `pypi`."""
    name: str
    version: str
    licence: str = ""
    architecture: str = ""


@dataclass(frozen=True)
class Contents:
    """What a layer adds, or an image holds."""

    unpacked: int = 0
    """Bytes of all files."""
    files: int = 0
    components: tuple[Component, ...] = ()
    release: str = ""
    """Of which operating system, as in debian-12."""
    format: int = field(default=_FORMAT)


def read_layer(layout: Path, layer: Blob, memory: Path) -> Contents:
    """The contents of a layer, from `memory` where it has been read before."""
    remembered = memory / f"{layer.digest.replace(':', '-')}.json"
    if remembered.exists():
        known = json.loads(remembered.read_bytes())
        if known["format"] == _FORMAT:
            return Contents(**known | {"components": tuple(Component(**each) for each in known["components"])})
    contents = _read(blob_path(layout, layer.digest))
    memory.mkdir(parents=True, exist_ok=True)
    remembered.write_text(json.dumps(asdict(contents)), encoding="utf-8")
    return contents


def merge(layers: Iterable[Contents]) -> Contents:
    """Layers on top of each other."""
    unpacked, files, release = 0, 0, ""
    components: set[Component] = set()
    for layer in layers:
        unpacked += layer.unpacked
        files += layer.files
        release = layer.release or release
        components |= set(layer.components)
    return Contents(unpacked, files, tuple(sorted(components)), release)


def _read(blob: Path) -> Contents:
    unpacked, files, release = 0, 0, ""
    components: list[Component] = []
    with plain(blob) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if not member.isreg():
                continue
            unpacked += member.size
            files += 1
            if _METADATA.match(member.name):
                components += _python(_text(archive, member))
            elif _STATUS.match(member.name):
                components += _debian(_text(archive, member))
            elif _RELEASE.match(member.name):
                told = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)', _text(archive, member), re.MULTILINE))
                release = "-".join(filter(None, (told.get("ID"), told.get("VERSION_ID"))))
    return Contents(unpacked, files, tuple(sorted(components)), release)


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = archive.extractfile(member)
    return "" if content is None else content.read().decode("utf-8", errors="replace")


def _python(text: str) -> list[Component]:
    """The distribution that a METADATA file is about."""
    told = Parser().parsestr(text, headersonly=True)
    classified = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License ::")
    ]
    licence = (
        told.get("License-Expression") or " AND ".join(classified) or (told.get("License") or "").partition("\n")[0]
    )
    name = re.sub(r"[-_.]+", "-", told["Name"]).lower()
    return [Component("pypi", name, told["Version"], licence.strip())]


def _debian(text: str) -> list[Component]:
    """The packages that a status file of dpkg is about."""
    found = []
    for paragraph in re.split(r"\n{2,}", text.strip()):
        told = dict(re.findall(r"^(Package|Version|Architecture|Status): *(.*)$", paragraph, re.MULTILINE))
        if "Package" in told and told.get("Status", "install ok installed").endswith(" installed"):
            found.append(Component("deb", told["Package"], told["Version"], architecture=told.get("Architecture", "")))
    return found
