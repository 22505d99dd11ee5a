"""References by digest for the images of local mode, where programs are installed packages and not images.

A result is reused only while the code that made it is the same, so the digest is taken over the sources of the
package, of what it shares with us, and over the versions of everything it depends on. Nothing is imported for it.
"""

import hashlib
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from plumbline_api.names import Image

__all__ = ["local_images"]

_PACKAGES = {
    Image.TRAINER: "plumbline_trainer",
    Image.ENGINE: "plumbline_trainer",
    Image.EVALUATOR: "plumbline_evaluator",
    Image.GUARD: "plumbline_guard",
}
_SHARED = ("plumbline_api", "plumbline_store")


def local_images(programs: Path | None) -> Mapping[Image, str]:
    """A reference for each image; a program found in the folder of preferred programs counts by its content."""
    return {image: f"plumbline/{image}@sha256:{_digest(image, programs)}" for image in _PACKAGES}


def _digest(image: Image, programs: Path | None) -> str:
    program = None if programs is None else programs / f"plumbline-{image}"
    if program is not None and program.is_file():
        return _hash([program.read_bytes()])
    return _package_digest(_PACKAGES[image])


@cache
def _package_digest(package: str) -> str:
    parts = [f"python {sys.version} {platform.machine()}".encode()]
    for name in (package, *_SHARED):
        parts += _sources(name)
    parts += [f"{name}=={version}".encode() for name, version in sorted(_closure(package.replace("_", "-")).items())]
    return _hash(parts)


def _sources(package: str) -> Iterator[bytes]:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                yield str(path.relative_to(folder)).encode()
                yield path.read_bytes()


def _closure(name: str) -> dict[str, str]:
    """Versions of a distribution and of all it needs, as far as they are installed."""
    versions: dict[str, str] = {}
    waiting = [name]
    while waiting:
        wanted = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        found = None if wanted in versions else _installed(wanted)
        if found is not None:
            versions[wanted] = found.version
            waiting += found.needs
    return versions


@dataclass(frozen=True)
class _Installed:
    version: str
    needs: tuple[str, ...]


@cache
def _installed(name: str) -> _Installed | None:
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        return None
    lines = [line for line in metadata.get_all("Requires-Dist") or () if "extra ==" not in line]
    return _Installed(metadata["Version"], tuple(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines))


def _hash(parts: list[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
