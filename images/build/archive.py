"""Reading and writing tar archives whose bytes depend on nothing but what is in them. Used to make the base."""

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

__all__ = ["Entry", "read_archive", "write_archive"]

_RIGHTS: Final = 0o7777


@dataclass(frozen=True)
class Entry:
    """A file, a symbolic link or a folder."""

    content: bytes = b""
    mode: int = 0o644
    link: str = ""
    folder: bool = False


def read_archive(content: bytes) -> Iterator[tuple[str, Entry]]:
    """The entries of an archive by name, without the ./ before it; hard links come as files of their own."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            name = member.name.removeprefix("./").strip("/")
            if member.isdir():
                yield name, Entry(mode=member.mode & _RIGHTS, folder=True)
            elif member.issym():
                yield name, Entry(link=member.linkname)
            else:
                file = archive.extractfile(member)
                yield name, Entry(b"" if file is None else file.read(), member.mode & _RIGHTS)


def write_archive(path: Path, entries: Mapping[str, Entry], epoch: int) -> None:
    """Write entries in the order of their names, with all folders that they need, everything root's and of one time."""
    folders = {str(parent) for name in entries for parent in PurePosixPath(name).parents} - {"."}
    everything = {**dict.fromkeys(folders, Entry(mode=0o755, folder=True)), **entries}
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(everything):
            entry = everything[name]
            header = tarfile.TarInfo(name)
            header.mtime = epoch
            header.mode = entry.mode
            if entry.folder:
                header.type = tarfile.DIRTYPE
            elif entry.link:
                header.type, header.linkname, header.mode = tarfile.SYMTYPE, entry.link, 0o777
            header.size = len(entry.content)
            archive.addfile(header, io.BytesIO(entry.content))
