"""Objects, statuses and events of a state directory. Used by `cluster` and `session`.

Reading needs no lock; writing is done by the one holder of the state directory.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, ValidationError

from plumbline_api.configmap import ConfigMap
from plumbline_api.model import Document, Timestamp, digest_of
from plumbline_api.names import Kind
from plumbline_api.reasons import Reason
from plumbline_operator.decision import Event, EventType
from plumbline_operator.local.errors import StateUnusable, in_plain_words
from plumbline_operator.local.layout import Layout, read_json, write_atomically
from plumbline_operator.observed import Key, PlumblineObject, PlumblineStatus
from plumbline_operator.references import OBJECT_TYPES, STATUS_TYPES

__all__ = ["CONFIG_MAP", "Applied", "EventRecord", "Record", "Records", "key_of"]

CONFIG_MAP = "ConfigMap"
MOST_EVENTS = 500


class Applied(StrEnum):
    """What applying an object did, in kubectl's words."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    CONFIGURED = "configured"


class Record(Document):
    """An object as it is kept."""

    manifest: dict[str, Any]
    file: str = ""
    """The manifest file it came from; relative paths in it start at that file's folder. Empty for children."""
    uid: Annotated[str, Field(max_length=64)]
    generation: int = 1
    created: Timestamp
    annotations: dict[str, str] = Field(default_factory=dict)
    """Written by commands (retry), kept when the manifest is applied again."""
    owner: str = ""
    """`Kind/namespace/name` of the object this is a child of."""


class EventRecord(Document):
    """An event as it is kept; one that repeats is counted."""

    type: EventType
    reason: Reason
    message: str
    count: int = 1
    first_time: Timestamp
    last_time: Timestamp


def key_of(thing: PlumblineObject) -> Key:
    """The key of an object."""
    return Key(Kind(thing.kind), thing.metadata.namespace, thing.metadata.name)


class Records:
    """The records of one state directory."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    # Objects

    def keys(self) -> tuple[Key, ...]:
        """All objects of our kinds."""
        found = []
        for kind in Kind:
            for path in sorted((self._layout.objects / kind.value).glob("*/*.json")):
                if not path.name.startswith("."):
                    found.append(Key(kind, path.parent.name, path.stem))
        return tuple(found)

    def kept(self, kind: str) -> tuple[tuple[str, str, Record], ...]:
        """Namespace, name and record of every object of a kind that is not ours, such as ConfigMap."""
        found = []
        for path in sorted((self._layout.objects / kind).glob("*/*.json")):
            record = None if path.name.startswith(".") else self.record(kind, path.parent.name, path.stem)
            if record is not None:
                found.append((path.parent.name, path.stem, record))
        return tuple(found)

    def record(self, kind: str, namespace: str, name: str) -> Record | None:
        """The record of an object, or None where there is none."""
        path = self._layout.object(kind, namespace, name)
        data = read_json(path)
        if data is None:
            return None
        try:
            return Record.parse(data)
        except ValidationError as error:
            raise StateUnusable(path, "is damaged", f"delete it: `plumbline delete {kind} {name}`") from error

    def object(self, key: Key) -> PlumblineObject | None:
        """An object of ours, or None where there is none."""
        record = self.record(key.kind.value, key.namespace, key.name)
        return None if record is None else OBJECT_TYPES[key.kind].parse(record.manifest)

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """A ConfigMap, or None where there is none."""
        record = self.record(CONFIG_MAP, namespace, name)
        return None if record is None else ConfigMap.parse(record.manifest)

    def write(self, kind: str, namespace: str, name: str, record: Record) -> None:
        """Keep a record."""
        write_atomically(self._layout.object(kind, namespace, name), record.pretty())

    def keep(self, document: PlumblineObject | ConfigMap, *, file: str, uid: str, now: datetime) -> Applied:
        """Keep an object as its manifest says; the generation moves when anything but metadata changes."""
        place = (document.kind, document.metadata.namespace, document.metadata.name)
        before = self.record(*place)
        manifest = document.dump()
        if before is None:
            self.write(*place, Record(manifest=manifest, file=file, uid=uid, created=now))
            return Applied.CREATED
        if before.manifest == manifest and before.file == file:
            return Applied.UNCHANGED
        changed = _content(before.manifest) != _content(manifest)
        after = {"manifest": manifest, "file": file, "generation": before.generation + changed}
        self.write(*place, before.model_copy(update=after))
        return Applied.UNCHANGED if before.manifest == manifest else Applied.CONFIGURED

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Remove an object; nothing happens where there is none."""
        path = self._layout.object(kind, namespace, name)
        with in_plain_words(path):
            path.unlink(missing_ok=True)

    def forget(self, key: Key) -> None:
        """Remove an object with its status and events; the object goes last, so a crash leaves a whole or none."""
        for path in (self._layout.events(key), self._layout.status(key)):
            with in_plain_words(path):
                path.unlink(missing_ok=True)
        self.remove(key.kind.value, key.namespace, key.name)

    # Statuses

    def status(self, key: Key) -> PlumblineStatus:
        """The status of an object; an empty one where none was written for this very object."""
        found = read_json(self._layout.status(key))
        kind = STATUS_TYPES[key.kind]
        if found is None:
            return kind()
        try:
            return kind.parse(found)
        except ValidationError as error:
            raise StateUnusable(self._layout.status(key), "is damaged", f"delete {key}, then run again") from error

    def write_status(self, key: Key, status: PlumblineStatus) -> None:
        """Replace the status of an object."""
        write_atomically(self._layout.status(key), status.pretty())

    # Events

    def events(self, key: Key) -> tuple[EventRecord, ...]:
        """The events of an object, oldest first; a line cut short by a crash is left out."""
        path = self._layout.events(key)
        with in_plain_words(path):
            if not path.exists():
                return ()
            lines = path.read_text(encoding="utf-8").splitlines()
        found = []
        for line in lines:
            try:
                found.append(EventRecord.read(line))
            except ValidationError:
                continue
        return tuple(found)

    def emit(self, key: Key, event: Event, now: datetime) -> None:
        """Record an event; one that repeats the last is counted, and the oldest are dropped."""
        known = list(self.events(key))
        last = known[-1] if known else None
        if last is not None and (last.type, last.reason, last.message) == (event.type, event.reason, event.message):
            known[-1] = last.model_copy(update={"count": last.count + 1, "last_time": now})
        else:
            made = EventRecord(
                type=event.type, reason=event.reason, message=event.message, first_time=now, last_time=now
            )
            known.append(made)
        text = "".join(json.dumps(entry.dump(), ensure_ascii=False) + "\n" for entry in known[-MOST_EVENTS:])
        write_atomically(self._layout.events(key), text)


def _content(manifest: Mapping[str, Any]) -> str:
    return digest_of({key: value for key, value in manifest.items() if key != "metadata"})
