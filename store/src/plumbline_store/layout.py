"""Where things lie in a store folder, and which version of this arrangement it has.

layout.json                       {"version": 1}
blobs/sha256/<2 digits>/<hex>     contents of files, read-only, named by their sha256
manifests/sha256/<hex>.json       canonical manifests, named by their sha256
cache/<hex>.json                  results of stages, by cache key
imports/<hex>.json                what was imported from where, so that it need not be hashed again
tmp/                              scratch of living writers
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from plumbline_store.durable import give_name, sync_folder, write_new
from plumbline_store.errors import NewerLayout, StoreError, UnsupportedStore, in_plain_words

__all__ = ["Layout", "folder_of"]

VERSION = 1
MARK = ".layout-"


def folder_of(uri: str) -> Path:
    """The folder of a `file://` address.

    Raises:
        UnsupportedStore: for any other address.
    """
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.is_absolute():
        raise UnsupportedStore(uri or "''", "this store cannot be opened", "supported is file:///absolute/path")
    return path


@dataclass(frozen=True)
class Layout:
    """The places of one store."""

    root: Path

    @property
    def tmp(self) -> Path:
        """Scratch of living writers."""
        return self.root / "tmp"

    def blob(self, sha256: str) -> Path:
        """The content with this sha256 (hex)."""
        return self.root / "blobs" / "sha256" / sha256[:2] / sha256

    def manifest(self, digest: str) -> Path:
        """The manifest with this digest."""
        return self.root / "manifests" / "sha256" / f"{digest.removeprefix('sha256:')}.json"

    def result(self, cache_key: str) -> Path:
        """The recorded result of a stage."""
        return self.root / "cache" / f"{cache_key.removeprefix('sha256:')}.json"

    def imported(self, key: str) -> Path:
        """What is known of an imported path."""
        return self.root / "imports" / f"{key.removeprefix('sha256:')}.json"

    def check(self) -> bool:
        """Whether there is a store.

        Raises:
            NewerLayout: when it is not for this version to read.
        """
        mark = self.root / "layout.json"
        with in_plain_words(mark):
            if not mark.exists():
                return False
            text = mark.read_text(encoding="utf-8", errors="replace")
        try:
            version = json.loads(text)["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(mark, "not a layout file", 'restore {"version": 1} or use another folder') from error
        if version != VERSION:
            remedy = "update Plumbline or use another folder; nothing was changed"
            raise NewerLayout(mark, f"the store has layout {version}, this version reads {VERSION}", remedy)
        return True

    def create(self) -> None:
        """Make the folder a store, unless it is one; a folder with anything else in it is refused."""
        if self.check():
            return
        with in_plain_words(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            others = [entry.name for entry in self.root.iterdir() if not entry.name.startswith(MARK)]
            if others and not self.check():
                fact = f"this folder is no store, but it holds {sorted(others)[0]}"
                raise StoreError(self.root, fact, "choose an empty folder for the store")
            with tempfile.NamedTemporaryFile(prefix=MARK, dir=self.root) as scratch:
                staged = Path(scratch.name + "-new")
                write_new(staged, json.dumps({"version": VERSION}).encode() + b"\n")
                if not give_name(staged, self.root / "layout.json"):
                    staged.unlink()
            sync_folder(self.root)
