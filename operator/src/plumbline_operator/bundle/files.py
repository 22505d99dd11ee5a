"""The files of a bundle: their names, their sums, and whether those that are there are those that are listed.

Whoever writes a bundle uses the same names and the same list.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from plumbline_api.names import ExitCode
from plumbline_operator.bundle.errors import BundleError, listed

__all__ = [
    "CHARTS",
    "CRDS",
    "IMAGE_LIST",
    "LAYOUT",
    "LICENCES",
    "SBOMS",
    "SIGNATURE",
    "SUMS",
    "VALUES",
    "check_files",
    "files_in",
    "read_sums",
    "sum_of",
    "sums_text",
]

LAYOUT: Final = "images"
"""The OCI layout."""
CHARTS: Final = "charts"
"""With one packaged chart."""
CRDS: Final = "crds"
SBOMS: Final = "sbom"
LICENCES: Final = "licences"
VALUES: Final = "values-bundle.yaml"
"""Values that name each image by its digest."""
IMAGE_LIST: Final = "images.txt"
"""For shells: name, repository, tag and digest of each image."""
SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = f"{SUMS}.sig"

REMEDY: Final = "copy the bundle again from where it was made"
_LINE: Final = re.compile(r"([0-9a-f]{64})  ((?!/)[A-Za-z0-9._+/-]+)")


def files_in(folder: Path) -> list[str]:
    """Every file within, by its path with slashes, in order; the sums and their signature left out.

    Raises:
        BundleError: Something is neither a file nor a folder: a link would lead out of what was verified.
    """
    found = []
    for place, folders, files in os.walk(folder, onerror=_unreadable):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise BundleError(path, "is neither a file nor a folder", REMEDY, exit_code=ExitCode.BAD_DATA)
        found += [Path(place, name).relative_to(folder).as_posix() for name in files]
    return sorted(set(found) - {SUMS, SIGNATURE})


def _unreadable(error: OSError) -> None:
    raise BundleError(
        error.filename, str(error.strerror), "let this user read it", exit_code=ExitCode.NOT_PERMITTED
    ) from error


def sums_text(sums: Mapping[str, str]) -> str:
    """The list, as `sha256sum --check` reads it."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def read_sums(folder: Path) -> tuple[bytes, Mapping[str, str]]:
    """The list as it is, and what it says: the sum of each file.

    Raises:
        BundleError: There is none, or not one that `sums_text` wrote.
    """
    path = folder / SUMS
    if not folder.is_dir():
        raise BundleError(folder, "there is no such folder", "name a bundle's", exit_code=ExitCode.BAD_SPEC)
    if not path.is_file():
        raise BundleError(path, "is not there", "name the folder of a bundle", exit_code=ExitCode.BAD_SPEC)
    content = path.read_bytes()
    sums: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), 1):
        found = _LINE.fullmatch(line)
        if found is None or {"", ".", ".."} & set(found[2].split("/")) or found[2] in sums:
            raise BundleError(f"{path}:{number}", "is no line of a bundle", REMEDY, exit_code=ExitCode.BAD_DATA)
        sums[found[2]] = found[1]
    return content, sums


def sum_of(path: Path, seen: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of a file; `seen` is told of the bytes, as they are read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            seen(len(chunk))
    return digest.hexdigest()


def check_files(folder: Path, sums: Mapping[str, str], seen: Callable[[int], None]) -> None:
    """Compare what is there with the list.

    Raises:
        BundleError: Files are missing, not listed, or not what they were.
    """
    found = files_in(folder)
    _refuse(folder, sums.keys() - set(found), "of its files are missing")
    _refuse(folder, set(found) - sums.keys(), "files are there that it does not list")
    _refuse(folder, (name for name in found if sum_of(folder / name, seen) != sums[name]), "files have changed")


def _refuse(folder: Path, names: Iterable[str], fact: str) -> None:
    wrong = sorted(names)
    if wrong:
        raise BundleError(folder, f"{len(wrong)} {fact}: {listed(wrong)}", REMEDY, exit_code=ExitCode.BAD_DATA)
