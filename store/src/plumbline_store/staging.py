"""An artifact in the making: files are copied and hashed into a writer's scratch folder, then named all at once.

Blobs get their names before the manifest does, so a manifest that can be seen is complete.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from plumbline_api.artifact import File, Manifest, MediaType, Parent
from plumbline_api.model import canonical_json
from plumbline_store.durable import copy_hashed, give_name, hash_stream, replace_with, write_new
from plumbline_store.layout import Layout

__all__ = ["Staging"]


class Staging:
    """The files of one artifact, until `complete` makes it visible."""

    def __init__(self, layout: Layout, scratch: Path) -> None:
        self._layout = layout
        self._scratch = scratch
        self._files: dict[str, tuple[File, Path]] = {}

    def add(self, path: str, source: BinaryIO) -> None:
        """Copy one file in."""
        staged = self._scratch / f"file-{len(self._files)}"
        sha256, size = copy_hashed(source, staged)
        self._files[path] = (File(path=path, sha256=sha256, size=size), staged)

    def complete(self, media_type: MediaType, parents: Sequence[Parent], licence: str | None) -> Manifest:
        """Make the artifact visible; content that is in the store already is kept once."""
        files = tuple(self._files[path][0] for path in sorted(self._files))
        manifest = Manifest(media_type=media_type, files=files, parents=tuple(parents), licence=licence)
        for file, staged in self._files.values():
            _place(staged, self._layout.blob(file.sha256), file.sha256)
        data, staged = canonical_json(manifest), self._scratch / "manifest"
        write_new(staged, data)
        _place(staged, self._layout.manifest(manifest.digest), manifest.digest.removeprefix("sha256:"))
        return manifest


def _place(staged: Path, final: Path, sha256: str) -> None:
    """Name a staged file; if the name is taken by damaged content, heal it."""
    if give_name(staged, final):
        return
    with final.open("rb") as there:
        found, _ = hash_stream(there)
    if found != sha256:
        replace_with(staged, final)
