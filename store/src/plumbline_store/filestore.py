"""The store in a folder (`file://`): publish, read, check out, trace, and the cache of stage results.

Used by operator, trainer and evaluator. Every read hashes what it reads; what becomes visible is complete and synced.
Damaged content is set aside when it is found, so that publishing it again heals the artifact. A consumer gets copies,
never links, so it cannot alter the store.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from plumbline_api.artifact import ArtifactRef, File, Manifest, MediaType, Parent
from plumbline_api.model import digest_of
from plumbline_api.report import Summary
from plumbline_store.attempts import attempt, remove_dead
from plumbline_store.durable import aside, drain, give_name, hash_stream, replace_with, set_aside, write_new
from plumbline_store.errors import AGAIN, ArtifactMissing, DigestMismatch, SourceUnusable, StoreError, in_plain_words
from plumbline_store.layout import Layout, folder_of
from plumbline_store.lineage import Lineage, trace
from plumbline_store.records import ImportRecord, ResultRecord, read_record
from plumbline_store.source import Meter, SourceFile, Told, check_path, list_source, visible
from plumbline_store.staging import Staging

__all__ = ["FileStore", "open_store"]

log = logging.getLogger(__name__)

SETTLED_NS = 2_000_000_000
"""A file changed this short a time before it was looked at may change again without its times showing it."""


def open_store(uri: str) -> "FileStore":
    """The store at an address; its folder is made by the first write.

    Raises:
        UnsupportedStore: for another address than file:///absolute/path.
        NewerLayout: when a newer version wrote it.
    """
    layout = Layout(folder_of(uri))
    layout.check()
    return FileStore(uri, layout)


class FileStore:
    """One store; any number of processes may use it at once."""

    def __init__(self, uri: str, layout: Layout) -> None:
        self.uri = uri
        self._layout = layout

    # Writing

    def publish(
        self,
        folder_or_file: Path,
        media_type: MediaType,
        *,
        parents: Sequence[Parent] = (),
        licence: str | None = None,
        include: Callable[[str], bool] | None = None,
    ) -> ArtifactRef:
        """Copy a folder (or one file) into the store; `include` picks among the relative paths."""
        files = list_source(folder_or_file, media_type, include or _everything)
        return self._publish_listed(files, media_type, parents, licence)

    def publish_bytes(
        self,
        files: Mapping[str, bytes],
        media_type: MediaType,
        *,
        parents: Sequence[Parent] = (),
        licence: str | None = None,
    ) -> ArtifactRef:
        """Publish contents that are at hand, by relative path."""
        if not files:
            raise SourceUnusable("artifact", "there is no file to publish", "give at least one")
        for path in files:
            check_path(path, Path(path), media_type)
        with self._writing() as scratch:
            staging = Staging(self._layout, scratch)
            for path, content in files.items():
                staging.add(path, BytesIO(content))
            return self._ref(staging.complete(media_type, parents, licence))

    def import_path(self, path: Path, media_type: MediaType, *, told: Told | None = None) -> ArtifactRef:
        """Publish a user's file or folder (hidden files left out); one that has not changed is not hashed again."""
        at = path.absolute()
        files = list_source(at, media_type, visible)
        place = self._layout.imported(digest_of([str(at), media_type.value]))
        seen = {file.path: file.fingerprint for file in files}
        known = self._recall_import(place, seen)
        if known is not None and self.has(known):
            return self._ref(self.manifest(known))
        ref = self._publish_listed(files, media_type, (), None, told)
        again = {file.path: file.fingerprint for file in list_source(at, media_type, visible)}
        if again == seen:
            record = ImportRecord(path=str(at), fingerprints=seen, digest=ref.digest)
            with self._writing() as scratch:
                write_new(scratch / "import", record.sealed())
                replace_with(scratch / "import", place)
        return ref

    # Reading

    def identify(self, path: Path, media_type: MediaType, *, told: Told | None = None) -> ArtifactRef:
        """What `import_path` would publish, here already or not (see `has`); nothing is written."""
        at = path.absolute()
        files = list_source(at, media_type, visible)
        place = self._layout.imported(digest_of([str(at), media_type.value]))
        known = self._recall_import(place, {file.path: file.fingerprint for file in files})
        if known is not None and self.has(known):
            return self._ref(self.manifest(known))
        meter, hashed = Meter(files, told), []
        for file in files:
            with meter.open(file) as source, in_plain_words(file.at):
                sha256, size = hash_stream(source)
            hashed.append(File(path=file.path, sha256=sha256, size=size))
        return self._ref(Manifest(media_type=media_type, files=tuple(hashed)))

    def exists(self) -> bool:
        """Whether anything was ever written here; raises StoreError where that cannot be seen."""
        return self._layout.check()

    def manifest(self, digest: str) -> Manifest:
        """The manifest of an artifact, verified."""
        if not re.fullmatch("sha256:[0-9a-f]{64}", digest):
            raise ArtifactMissing(repr(digest), "not a digest", "write sha256: and 64 hexadecimal digits")
        place = self._layout.manifest(digest)
        with in_plain_words(place):
            if not place.is_file():
                remedy = f"check the digest, or publish the artifact into {self.uri}"
                raise ArtifactMissing(place, f"the store does not hold the artifact {digest}", remedy)
            data = place.read_bytes()
        found, _ = hash_stream(BytesIO(data))
        if f"sha256:{found}" != digest:
            raise DigestMismatch(place, digest, f"sha256:{found}")
        try:
            return Manifest.read(data)
        except ValidationError as error:
            raise StoreError(place, "not a manifest this version reads", "update Plumbline") from error

    def checkout(self, digest: str, into: Path) -> Path:
        """Copy every file, verified on this read, into a new folder that appears when it is complete.

        A folder that is there already must hold exactly the artifact, which is verified too.
        """
        manifest = self.manifest(digest)
        scratch_name = f".{into.name}.checkout-"
        if into.is_dir() and any(into.iterdir()):
            self._verify_folder(manifest, into)
            remove_dead(into.parent, scratch_name)
            return into
        with in_plain_words(into), attempt(into.parent, scratch_name) as scratch:
            whole = scratch / "files"
            for file in manifest.files:
                target = whole / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                self._copy_out(file, target)
            whole.rename(into)
        return into

    def read_file(self, digest: str, path: str) -> bytes:
        """The content of one file of an artifact, verified."""
        manifest = self.manifest(digest)
        for file in manifest.files:
            if file.path == path:
                return self._read_content(file)
        names = ", ".join(file.path for file in manifest.files[:5])
        raise ArtifactMissing(digest, f"the artifact has no file {path}", f"it has {names}")

    def has(self, digest: str) -> bool:
        """Whether the artifact is there with all its files at their sizes (contents are verified when read)."""
        try:
            manifest = self.manifest(digest)
        except (ArtifactMissing, DigestMismatch):
            return False
        return all(_has_size(self._layout.blob(file.sha256), file.size) for file in manifest.files)

    def verify(self, digest: str) -> None:
        """Read everything the artifact consists of; raises ArtifactMissing or DigestMismatch."""
        for file in self.manifest(digest).files:
            self._check_content(file)

    def lineage(self, digest: str) -> Lineage:
        """What the artifact was made from, back to what was imported."""
        return trace(digest, self.manifest)

    # The stage cache

    def record(self, cache_key: str, summary: Summary) -> None:
        """Keep the result of a stage; the first writer's stays as long as its artifacts are intact."""
        place = self._layout.result(cache_key)
        with self._writing() as scratch:
            write_new(scratch / "result", ResultRecord.of(cache_key, summary).sealed())
            if not give_name(scratch / "result", place) and self.recall(cache_key) is None:
                replace_with(scratch / "result", place)

    def recall(self, cache_key: str) -> Summary | None:
        """The kept result of a stage; None where there is none, or where its artifacts are not intact (logged)."""
        place = self._layout.result(cache_key)
        with in_plain_words(place):
            if not place.is_file():
                return None
            found = read_record(ResultRecord, place.read_bytes())
        if found is None or found.cache_key != cache_key:
            log.warning("%s: the recorded result is damaged and is not used; the stage runs again", place)
            return None
        try:
            for ref in (found.summary.output, found.summary.report):
                if ref is not None:
                    self.verify(ref.digest)
        except (ArtifactMissing, DigestMismatch) as error:
            log.warning("%s: the recorded result is not used and the stage runs again: %s", place, error)
            return None
        return found.summary

    # Parts of the above

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        self._layout.create()
        with in_plain_words(self._layout.root), attempt(self._layout.tmp, "attempt-") as scratch:
            yield scratch

    def _publish_listed(
        self,
        files: Sequence[SourceFile],
        media_type: MediaType,
        parents: Sequence[Parent],
        licence: str | None,
        told: Told | None = None,
    ) -> ArtifactRef:
        meter = Meter(files, told)
        with self._writing() as scratch:
            staging = Staging(self._layout, scratch)
            for file in files:
                with meter.open(file) as source:
                    staging.add(file.path, source)
            return self._ref(staging.complete(media_type, parents, licence))

    def _recall_import(self, place: Path, seen: Mapping[str, tuple[int, ...]]) -> str | None:
        with in_plain_words(place):
            if not place.is_file():
                return None
            known, written = read_record(ImportRecord, place.read_bytes()), place.stat().st_mtime_ns
        settled = all(max(times[-2:]) + SETTLED_NS < written for times in seen.values())
        return known.digest if known is not None and known.fingerprints == seen and settled else None

    def _check_content(self, file: File) -> None:
        place = self._layout.blob(file.sha256)
        with self._opened(place) as blob:
            found, _ = hash_stream(blob)
        _compare(place, file.sha256, found)

    def _read_content(self, file: File) -> bytes:
        place = self._layout.blob(file.sha256)
        with self._opened(place) as blob:
            data = blob.read()
        found, _ = hash_stream(BytesIO(data))
        _compare(place, file.sha256, found)
        return data

    def _copy_out(self, file: File, target: Path) -> None:
        place = self._layout.blob(file.sha256)
        with self._opened(place) as blob, target.open("xb") as copy:
            found, _ = drain(blob, copy)
        _compare(place, file.sha256, found)

    def _verify_folder(self, manifest: Manifest, folder: Path) -> None:
        remedy = "remove the folder or choose another"
        with in_plain_words(folder):
            there = {str(at.relative_to(folder)) for at in folder.rglob("*") if not at.is_dir() or at.is_symlink()}
            odd = sorted(there ^ {file.path for file in manifest.files})
            if odd:
                raise StoreError(folder, f"already there, and not this artifact ({odd[0]} differs)", remedy)
            for file in manifest.files:
                with (folder / file.path).open("rb") as copy:
                    found, _ = hash_stream(copy)
                if found != file.sha256:
                    raise StoreError(folder / file.path, "already there, and altered since it was checked out", remedy)

    @contextmanager
    def _opened(self, place: Path) -> Iterator[BinaryIO]:
        with in_plain_words(place):
            try:
                blob = place.open("rb")
            except FileNotFoundError as error:
                what = "was damaged and set aside" if aside(place).exists() else "is gone from the store"
                raise ArtifactMissing(place, f"a file of the artifact {what}", AGAIN) from error
        with blob:
            yield blob

    def _ref(self, manifest: Manifest) -> ArtifactRef:
        return ArtifactRef(uri=self.uri, digest=manifest.digest, media_type=manifest.media_type, size=manifest.size)


def _everything(_: str) -> bool:
    return True


def _compare(place: Path, expected: str, found: str) -> None:
    if found != expected:
        set_aside(place)
        raise DigestMismatch(place, expected, found)


def _has_size(place: Path, size: int) -> bool:
    try:
        return place.stat().st_size == size
    except FileNotFoundError:
        return False
