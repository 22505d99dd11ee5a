"""Whether a bundle is whole and from whom it should be: first the signature, then every file, then every image.

Nothing in a bundle is believed before the list of its files is; nothing is pushed before all of this.
"""

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plumbline_api.names import ExitCode
from plumbline_operator.bundle.errors import BundleError, listed
from plumbline_operator.bundle.files import CHARTS, LAYOUT, SIGNATURE, VALUES, check_files, read_sums
from plumbline_operator.bundle.layout import Layout, Part
from plumbline_operator.bundle.needed import NeededImage, needed_images
from plumbline_operator.bundle.signature import PublicKey, is_signed

__all__ = ["Bundle", "BundledImage", "Trust", "verify"]

_ANEW = "make the bundle anew: make bundle"


@dataclass(frozen=True)
class Trust:
    """What somebody accepts."""

    key: PublicKey | None = None
    """Signatures of its holder."""
    allow_unsigned: bool = False
    """Files that are whole, whoever made them."""


@dataclass(frozen=True)
class BundledImage:
    """An image of a bundle."""

    needed: NeededImage
    parts: tuple[Part, ...]
    """All that it consists of, its manifest at the end."""

    @property
    def manifest(self) -> Part:
        """The file whose digest is the image's."""
        return self.parts[-1]


@dataclass(frozen=True)
class Bundle:
    """A bundle that has been verified."""

    folder: Path
    chart: Path
    version: str
    images: tuple[BundledImage, ...]
    files: int
    size: int
    """Bytes of all files."""
    signed: bool

    @property
    def layout(self) -> Layout:
        """Where its images are."""
        return Layout(self.folder / LAYOUT)


def verify(folder: Path, trust: Trust, seen: Callable[[int], None] = lambda _: None) -> Bundle:
    """Read a bundle, all of it; `seen` is told of the bytes, as they are read.

    Raises:
        BundleError: It is damaged (65), or its signature is bad or missing (77).
    """
    content, sums = read_sums(folder)
    signed = _check_signature(folder, content, trust)
    check_files(folder, sums, seen)
    chart = _chart(folder, sums)
    described = _documents(chart)
    values = _merge(described["values.yaml"], _mapping((folder / VALUES).read_bytes(), folder / VALUES))
    version = str(described["Chart.yaml"]["appVersion"])
    return Bundle(
        folder=folder,
        chart=chart,
        version=version,
        images=_images(folder, sums, needed_images(values, version)),
        files=len(sums),
        size=sum((folder / name).stat().st_size for name in sums),
        signed=signed,
    )


def _check_signature(folder: Path, content: bytes, trust: Trust) -> bool:
    """Whether it was signed by the holder of the key; refuses what is not trusted."""
    path = folder / SIGNATURE
    if not path.is_file():
        if trust.allow_unsigned:
            return False
        remedy = "get a signed one, or take it as it is with --allow-unsigned"
        raise BundleError(folder, "is not signed", remedy, exit_code=ExitCode.NOT_PERMITTED)
    if trust.key is None:
        if trust.allow_unsigned:
            return False
        remedy = "name it with --key FILE, or take the bundle without with --allow-unsigned"
        raise BundleError(path, "needs a public key to be checked", remedy, exit_code=ExitCode.NOT_PERMITTED)
    if not is_signed(trust.key, content, path.read_bytes()):
        fact = "is not the key's signature of this bundle: another key made it, or the list of files has changed"
        remedy = "get the bundle and the public key from its maker, on different ways"
        raise BundleError(path, fact, remedy, exit_code=ExitCode.NOT_PERMITTED)
    return True


def _images(folder: Path, sums: Mapping[str, str], needed: tuple[NeededImage, ...]) -> tuple[BundledImage, ...]:
    """Every image that the chart can use, complete and by the digest that the values name."""
    _check_names(folder, sums)
    layout = Layout(folder / LAYOUT)
    stored = layout.images()
    missing = [image.name for image in needed if image.name not in stored]
    if missing:
        raise _damaged(layout.folder, f"lacks images that the chart uses: {listed(missing)}")
    surplus = sorted(stored.keys() - {image.name for image in needed})
    if surplus:
        raise _damaged(layout.folder, f"has images that the chart does not know: {listed(surplus)}")
    for image in needed:
        if image.digest != stored[image.name].digest:
            named = image.digest or "no digest"
            raise _damaged(folder / VALUES, f"{image.name} is {named}, and the layout has {stored[image.name].digest}")
    return tuple(BundledImage(image, layout.parts(stored[image.name])) for image in needed)


def _check_names(folder: Path, sums: Mapping[str, str]) -> None:
    """Files of the layout are named by their digests, so their sums are their names."""
    place = f"{LAYOUT}/blobs/"
    wrong = [name for name, found in sums.items() if name.startswith(place) and name != f"{place}sha256/{found}"]
    if wrong:
        raise _damaged(folder, f"files of the layout do not have the digests of their names: {listed(wrong)}")


def _chart(folder: Path, sums: Mapping[str, str]) -> Path:
    found = [name for name in sums if name.startswith(f"{CHARTS}/") and name.endswith(".tgz")]
    if len(found) != 1 or VALUES not in sums:
        raise _damaged(folder, f"has {len(found)} packaged charts and {'a' if VALUES in sums else 'no'} {VALUES}")
    return folder / found[0]


def _documents(chart: Path) -> dict[str, dict[str, Any]]:
    """What a packaged chart says of itself, and its values."""
    found: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(chart.read_bytes()), mode="r:gz") as archive:
            for name in ("Chart.yaml", "values.yaml"):
                file = archive.extractfile(f"plumbline/{name}")
                found[name] = _mapping(b"" if file is None else file.read(), chart)
    except (tarfile.TarError, KeyError, OSError) as error:
        raise _damaged(chart, "is no packaged chart of Plumbline") from error
    return found


def _mapping(content: bytes, place: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise _damaged(place, "is no YAML") from error
    if not isinstance(found, dict):
        raise _damaged(place, "holds no values")
    return found


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Values laid over others, as Helm does."""
    both = {
        key: _merge(below[key], part) if isinstance(below.get(key), dict) and isinstance(part, dict) else part
        for key, part in above.items()
    }
    return {**below, **both}


def _damaged(place: Path, fact: str) -> BundleError:
    return BundleError(place, fact, _ANEW, exit_code=ExitCode.BAD_DATA)
