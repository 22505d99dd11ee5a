"""The store: publish, read, check out, trace, and the cache of stage results; the same in a folder and in a bucket.

Used by operator, trainer and evaluator. Every read hashes what it reads; what becomes visible is complete. Damaged
content is set aside when it is found, so that publishing it again heals the artifact. A consumer gets copies, never
links, so it cannot alter the store.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from plumbline_api.artifact import ArtifactRef, File, Manifest, MediaType, Parent
from plumbline_api.model import canonical_json, digest_of
from plumbline_api.report import Summary
from plumbline_store import keys
from plumbline_store.attempts import remove_dead
from plumbline_store.backend import Backend, Content
from plumbline_store.contents import Contents
from plumbline_store.drafts import Drafts
from plumbline_store.errors import (
    ArtifactMissing,
    DigestMismatch,
    SignatureInvalid,
    SourceUnusable,
    StoreError,
    in_plain_words,
)
from plumbline_store.hashing import drain, hash_stream
from plumbline_store.lineage import Lineage, trace
from plumbline_store.records import ImportRecord, ResultRecord, read_record
from plumbline_store.source import Meter, SourceFile, Told, check_path, list_source, visible
from plumbline_store.statement import ARTIFACT, Envelope, Malformed, read_statement

if TYPE_CHECKING:
    from plumbline_store.signing import SigningKey, Trust

__all__ = ["Store"]

log = logging.getLogger(__name__)

SETTLED_NS: Final = 2_000_000_000
"""A file changed this short a time before it was looked at may change again without its times showing it."""


LARGEST_SIGNATURE: Final = 16 * 1024 * 1024
"""Bytes; a manifest with as many files as it may have takes less than half of that."""


class Store:
    """One store; any number of processes may use it at once."""

    def __init__(self, uri: str, backend: Backend, trust: "Trust | None" = None) -> None:
        self.uri = uri
        self._contents = Contents(uri, backend)
        self._trust = trust
        self.drafts = Drafts(self._contents, trust)
        """Unfinished work."""

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
        contents = {path: Content.of(path, data) for path, data in files.items()}
        return self._publish(contents, media_type, parents, licence)

    def import_path(self, path: Path, media_type: MediaType, *, told: Told | None = None) -> ArtifactRef:
        """Publish a user's file or folder (hidden files left out); one that has not changed is not hashed again."""
        at = path.absolute()
        files = list_source(at, media_type, visible)
        key = keys.imported(digest_of([str(at), media_type.value]))
        seen = {file.path: file.fingerprint for file in files}
        known = self._recall_import(key, seen)
        if known is not None and self.has(known):
            return self._ref(self.manifest(known))
        ref = self._publish_listed(files, media_type, (), None, told)
        again = {file.path: file.fingerprint for file in list_source(at, media_type, visible)}
        if again == seen:
            record = ImportRecord(path=str(at), fingerprints=seen, digest=ref.digest)
            with self._contents.writing() as stage:
                stage(Content.of(key, record.sealed())).replace(key)
        return ref

    # Reading

    def identify(self, path: Path, media_type: MediaType, *, told: Told | None = None) -> ArtifactRef:
        """What `import_path` would publish, here already or not (see `has`); nothing is written."""
        at = path.absolute()
        files = list_source(at, media_type, visible)
        key = keys.imported(digest_of([str(at), media_type.value]))
        known = self._recall_import(key, {file.path: file.fingerprint for file in files})
        if known is not None and self.has(known):
            return self._ref(self.manifest(known))
        meter, hashed = Meter(files, told), []
        for file in files:
            with meter.open(file) as source, in_plain_words(file.at):
                sha256, size = drain(source, lambda chunk: meter.count(len(chunk)))
            hashed.append(File(path=file.path, sha256=sha256, size=size))
        return self._ref(Manifest(media_type=media_type, files=tuple(hashed)))

    def exists(self) -> bool:
        """Whether anything was ever written here; raises StoreError where that cannot be seen or is newer."""
        return self._contents.exist()

    def manifest(self, digest: str) -> Manifest:
        """The manifest of an artifact, verified."""
        if not re.fullmatch("sha256:[0-9a-f]{64}", digest):
            raise ArtifactMissing(repr(digest), "not a digest", "write sha256: and 64 hexadecimal digits")
        key = keys.manifest(digest)
        place, data = self._contents.place(key), self._contents.read_small(key)
        if data is None:
            remedy = f"check the digest, or publish the artifact into {self.uri}"
            raise ArtifactMissing(place, f"the store does not hold the artifact {digest}", remedy)
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
        manifest = self._trusted(digest)
        scratch_name = f".{into.name}.checkout-"
        if into.is_dir() and any(into.iterdir()):
            self._verify_folder(manifest, into)
            remove_dead(into.parent, scratch_name)
            return into
        self._contents.lay_out(manifest.files, into, scratch_name)
        return into

    def read_file(self, digest: str, path: str) -> bytes:
        """The content of one file of an artifact, verified."""
        manifest = self._trusted(digest)
        for file in manifest.files:
            if file.path == path:
                data = bytearray()
                self._contents.pass_on(file, data.extend)
                return bytes(data)
        names = ", ".join(file.path for file in manifest.files[:5])
        raise ArtifactMissing(digest, f"the artifact has no file {path}", f"it has {names}")

    def has(self, digest: str) -> bool:
        """Whether the artifact is there with all its files at their sizes (contents are verified when read)."""
        try:
            manifest = self.manifest(digest)
        except (ArtifactMissing, DigestMismatch):
            return False
        return all(self._contents.each(self._contents.has, manifest.files))

    def verify(self, digest: str) -> None:
        """Read everything the artifact consists of; raises ArtifactMissing or DigestMismatch."""
        self._contents.each(self._check_content, self.manifest(digest).files)

    def lineage(self, digest: str) -> Lineage:
        """What the artifact was made from, back to what was imported."""
        return trace(digest, self.manifest)

    # Signatures

    def sign(self, digest: str, key: "SigningKey") -> bool:
        """Vouch for an artifact with a key; whether that was not done before."""
        manifest = self.manifest(digest)
        if not key.trust.examine(ARTIFACT, manifest.files, partial(self._signature, digest)):
            return False
        place = keys.signature(digest, key.name)
        with self._contents.writing() as stage:
            stage(Content.of(place, key.sign(ARTIFACT, digest, manifest.files))).replace(place)
        return True

    def attach(self, digest: str, bundle: bytes) -> str:
        """Keep a signature that was made elsewhere, and name its key.

        Raises:
            SignatureInvalid: It is not over exactly the files of this artifact. Whose it is tells `check_signature`.
        """
        try:
            envelope = Envelope.read(bundle)
            signed = read_statement(envelope.payload)
            fact = signed.difference(self.manifest(digest).files)
        except Malformed as error:
            fact = str(error)
        if not fact and (signed.type != ARTIFACT or not re.fullmatch("[0-9a-f]{64}", envelope.key)):
            fact = "it is over something else, or does not say by which key it is"
        if fact:
            raise SignatureInvalid(
                f"the signature for {digest}", fact, "sign these files, with the newest model_signing"
            )
        with self._contents.writing() as stage:
            place = keys.signature(digest, envelope.key)
            stage(Content.of(place, bundle)).replace(place)
        return envelope.key

    def check_signature(self, digest: str, trust: "Trust") -> Manifest:
        """The manifest of an artifact that a trusted key vouches for, by exactly its files; raises SignatureInvalid."""
        manifest = self.manifest(digest)
        fact = trust.examine(ARTIFACT, manifest.files, partial(self._signature, digest))
        if fact:
            kind = manifest.media_type.split(".")[-2]
            remedy = "sign it with `plumbline sign` if it is what it should be, or trust the key that has signed it"
            raise SignatureInvalid(f"{kind} {digest} in {self.uri}", fact, remedy)
        return manifest

    # The stage cache

    def record(self, cache_key: str, summary: Summary) -> None:
        """Keep the result of a stage; the first writer's stays as long as its artifacts are intact."""
        key = keys.result(cache_key)
        with self._contents.writing() as stage:
            staged = stage(Content.of(key, ResultRecord.of(cache_key, summary).sealed()))
            if not staged.give(key) and self.recall(cache_key) is None:
                staged.replace(key)

    def recall(self, cache_key: str) -> Summary | None:
        """The kept result of a stage; None where there is none, or where its artifacts are not intact (logged)."""
        key = keys.result(cache_key)
        place, data = self._contents.place(key), self._contents.read_small(key)
        if data is None:
            return None
        found = read_record(ResultRecord, data)
        if found is None or found.cache_key != cache_key:
            log.warning("%s: the recorded result is damaged and is not used; the stage runs again", place)
            return None
        try:
            for ref in (found.summary.output, found.summary.report):
                if ref is not None:
                    self.verify(ref.digest)
            if found.summary.output is not None:
                self._trusted(found.summary.output.digest)
        except (ArtifactMissing, DigestMismatch, SignatureInvalid) as error:
            log.warning("%s: the recorded result is not used and the stage runs again: %s", place, error)
            return None
        return found.summary

    # Parts of the above

    def _trusted(self, digest: str) -> Manifest:
        """The manifest of an artifact whose content may be handed out: whatever it says it is."""
        return self.manifest(digest) if self._trust is None else self.check_signature(digest, self._trust)

    def _signature(self, digest: str, key: str) -> bytes | None:
        """What a key says of an artifact; None where it says nothing. What is too large to be that is nothing."""
        place = keys.signature(digest, key)
        entry = self._contents.look(place)
        if entry is None:
            return None
        return self._contents.read_small(place) if entry.size <= LARGEST_SIGNATURE else b""

    def _publish_listed(
        self,
        files: Sequence[SourceFile],
        media_type: MediaType,
        parents: Sequence[Parent],
        licence: str | None,
        told: Told | None = None,
    ) -> ArtifactRef:
        meter = Meter(files, told)
        contents = {file.path: Content(str(file.at), partial(meter.open, file), meter.count) for file in files}
        return self._publish(contents, media_type, parents, licence)

    def _publish(
        self,
        contents: Mapping[str, Content],
        media_type: MediaType,
        parents: Sequence[Parent],
        licence: str | None,
    ) -> ArtifactRef:
        """Files get their names before the manifest does, so a manifest that can be seen is complete."""
        paths = sorted(contents)
        with self._contents.writing() as stage:
            staged = self._contents.each(stage, [contents[path] for path in paths])
            files = tuple(
                File(path=path, sha256=one.sha256, size=one.size) for path, one in zip(paths, staged, strict=True)
            )
            manifest = Manifest(media_type=media_type, files=files, parents=tuple(parents), licence=licence)
            once = {one.sha256: one for one in staged}
            self._contents.each(lambda one: self._contents.put(one, keys.blob(one.sha256)), once.values())
            self._contents.put(stage(Content.of("manifest", canonical_json(manifest))), keys.manifest(manifest.digest))
        return self._ref(manifest)

    def _recall_import(self, key: str, seen: Mapping[str, tuple[int, ...]]) -> str | None:
        entry, data = self._contents.look(key), self._contents.read_small(key)
        if entry is None or data is None:
            return None
        known = read_record(ImportRecord, data)
        settled = all(max(times[-2:]) + SETTLED_NS < entry.written_ns for times in seen.values())
        return known.digest if known is not None and known.fingerprints == seen and settled else None

    def _check_content(self, file: File) -> None:
        self._contents.pass_on(file, lambda _: None)

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

    def _ref(self, manifest: Manifest) -> ArtifactRef:
        return ArtifactRef(uri=self.uri, digest=manifest.digest, media_type=manifest.media_type, size=manifest.size)


def _everything(_: str) -> bool:
    return True
