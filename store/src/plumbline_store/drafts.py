"""Unfinished work that outlives the machine it was done on: its newest state, replaced as a whole, gone at the end.

Used by the trainer for checkpoints, through `Store.drafts`. Files lie under their sha256, and a record that is written
last names them, so a state is complete or it is the one before. Who reads it verifies it, as everything here. With
trust in keys, one that none of them has signed counts as absent.
"""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plumbline_api.artifact import File, MediaType
from plumbline_store import keys
from plumbline_store.backend import Content
from plumbline_store.contents import Contents
from plumbline_store.errors import ArtifactMissing, DigestMismatch
from plumbline_store.records import DraftRecord, read_record
from plumbline_store.source import Meter, list_source
from plumbline_store.statement import CHECKPOINT

if TYPE_CHECKING:
    from plumbline_store.signing import SigningKey, Trust

__all__ = ["Drafts"]

log = logging.getLogger(__name__)


class Drafts:
    """One for each key; two writers of one key may cost each other their draft, and never make a wrong one."""

    def __init__(self, contents: Contents, trust: "Trust | None" = None) -> None:
        self._contents = contents
        self._trust = trust

    def save(self, key: str, folder: Path, signing: "SigningKey | None" = None) -> None:
        """Keep a folder, signed where there is a key for that, in place of what was kept under `key` before."""
        files = list_source(folder, MediaType.REPORT, lambda _: True)
        meter = Meter(files, None)
        sources = [Content(str(file.at), partial(meter.open, file)) for file in files]
        with self._contents.writing() as stage:
            staged = self._contents.each(stage, sources)
            kept = {keys.draft_file(key, one.sha256): one for one in staged}
            self._contents.each(lambda place: self._contents.put(kept[place], place), kept)
            made = tuple(
                File(path=file.path, sha256=one.sha256, size=one.size) for file, one in zip(files, staged, strict=True)
            )
            place = keys.draft(key)
            vouched = None if signing is None else signing.sign(CHECKPOINT, _named(key, folder.name), made).decode()
            record = DraftRecord(key=key, name=folder.name, files=made, signature=vouched)
            stage(Content.of(place, record.sealed())).replace(place)
        for other in self._contents.names(keys.draft_file(key, "")):
            if other not in kept:
                self._contents.remove(other)

    def restore(self, key: str, parent: Path) -> Path | None:
        """The folder that was kept, under its own name in `parent`; None where none is intact."""
        data = self._contents.read_small(keys.draft(key))
        found = None if data is None else read_record(DraftRecord, data)
        if found is None or found.key != key or not self._trusts(found):
            return None
        into = parent / found.name
        try:
            scratch_name = f".{found.name}.restore-"
            self._contents.lay_out(found.files, into, scratch_name, lambda file: keys.draft_file(key, file.sha256))
        except (ArtifactMissing, DigestMismatch) as error:
            log.warning("%s is not restored: %s", found.name, error)
            return None
        return into

    def remove(self, key: str) -> None:
        """Let go of what was kept under the key."""
        self._contents.remove(keys.draft(key))
        for other in self._contents.names(keys.draft_file(key, "")):
            self._contents.remove(other)

    def _trusts(self, record: DraftRecord) -> bool:
        if self._trust is None:
            return True
        bundle = None if record.signature is None else record.signature.encode()
        fact = self._trust.examine(CHECKPOINT, record.files, lambda _: bundle, _named(record.key, record.name))
        if fact:
            log.warning("%s is not restored: %s", record.name, fact)
        return not fact


def _named(key: str, name: str) -> str:
    """What a signature of unfinished work is about."""
    return f"{key}/{name}"
