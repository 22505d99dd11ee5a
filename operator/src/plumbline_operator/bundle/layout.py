"""An OCI layout as it is read: its images by name, and all that an image consists of, indexes included."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plumbline_api.names import ExitCode
from plumbline_operator.bundle.errors import BundleError

__all__ = ["REFERENCE", "Layout", "Part"]

REFERENCE: Final = "org.opencontainers.image.ref.name"
"""The annotation that gives an image of a layout its name."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MANIFEST_BYTES: Final = 4 << 20
"""The longest manifest that registries take."""
_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


@dataclass(frozen=True)
class Part:
    """A file of a layout that an image needs."""

    digest: str
    size: int
    media_type: str
    is_manifest: bool = False
    """Or an index. Registries keep these apart from all others."""


class Layout:
    """A folder with images; read after its files have been verified."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self.folder = folder

    def images(self) -> Mapping[str, Part]:
        """Every image by its name. One without is what a name meant before; builders leave it.

        Raises:
            BundleError: The folder is no layout, or a name means two images.
        """
        marker, index = self._json(self.folder / "oci-layout"), self._json(self.folder / "index.json")
        if marker.get("imageLayoutVersion") != "1.0.0":
            raise self._damaged("is no OCI layout of version 1.0.0")
        found: dict[str, Part] = {}
        for entry in index.get("manifests", ()):
            name = entry.get("annotations", {}).get(REFERENCE, "")
            if name in found:
                raise self._damaged(f"has two images of the name {name}")
            if name:
                found[name] = self._part(entry, is_manifest=True)
        return found

    def parts(self, image: Part) -> tuple[Part, ...]:
        """All that an image needs, itself at the end: what is named comes before what names it.

        Raises:
            BundleError: Something is not there, or not of the size that is said of it.
        """
        document = self._document(image)
        if image.media_type in _INDEXES:
            manifests = document.get("manifests", ())
            below = [part for each in manifests for part in self.parts(self._part(each, is_manifest=True))]
        else:
            below = [self._part(each) for each in (document.get("config"), *document.get("layers", ()))]
            for part in below:
                self._check(part)
        return (*dict.fromkeys(below), image)

    def content(self, manifest: Part) -> bytes:
        """The bytes of a manifest or an index."""
        self._check(manifest)
        if manifest.size > _MANIFEST_BYTES:
            raise self._damaged(f"names a manifest of {manifest.size} bytes")
        return self.path(manifest.digest).read_bytes()

    def path(self, digest: str) -> Path:
        """Where the file of a digest is."""
        return self.folder.joinpath("blobs", *digest.split(":", 1))

    def _check(self, part: Part) -> None:
        path = self.path(part.digest)
        if not path.is_file():
            raise self._damaged(f"lacks {part.digest}")
        if path.stat().st_size != part.size:
            raise self._damaged(f"says that {part.digest} has {part.size} bytes, and it has {path.stat().st_size}")

    def _part(self, descriptor: Any, *, is_manifest: bool = False) -> Part:
        try:
            part = Part(descriptor["digest"], descriptor["size"], descriptor["mediaType"], is_manifest)
        except (KeyError, TypeError) as error:
            raise self._damaged("has a manifest that does not say what it names") from error
        # The digest becomes a path.
        if _DIGEST.fullmatch(part.digest) is None:
            raise self._damaged(f"names {part.digest}, which is no SHA-256 digest")
        return part

    def _document(self, manifest: Part) -> dict[str, Any]:
        content = self.content(manifest)
        return self._mapping(content, manifest.digest)

    def _json(self, path: Path) -> dict[str, Any]:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise self._damaged(f"has no {path.name} that can be read") from error
        return self._mapping(content, path.name)

    def _mapping(self, content: bytes, name: str) -> dict[str, Any]:
        try:
            found = json.loads(content)
        except ValueError as error:
            raise self._damaged(f"has {name}, which is no JSON") from error
        if not isinstance(found, dict):
            raise self._damaged(f"has {name}, which describes nothing")
        return found

    def _damaged(self, fact: str) -> BundleError:
        return BundleError(self.folder, fact, "make it anew: make images, make bundle", exit_code=ExitCode.BAD_DATA)
