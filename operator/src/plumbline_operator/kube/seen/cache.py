"""What the operator has seen of the API server: watched objects, trimmed and packed, findable by what they belong to.

Filled by watches, lists and the answers to our own writes, in any order: an older state of an object never replaces a
newer one, and what is known to be gone does not come back. Versions of one resource are numbers that only grow
(kubernetes.io, "Resource versions": comparable since 1.35, and so in every release before that used etcd).
Knows no I/O.
"""

import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from plumbline_operator.kube.api.resources import OURS, Resource
from plumbline_operator.kube.seen.packing import Packing
from plumbline_operator.kube.seen.relations import groups_of, trim, woken_by
from plumbline_operator.observed import Key

__all__ = ["Cache", "Name"]

Raw = Mapping[str, Any]
Name = tuple[str, str]
"""Namespace and name."""

_MOST_GRAVES: Final = 5_000
"""Deleted objects that are remembered; what is older than these has long left every stream."""


@dataclass(slots=True)
class _Entry:
    """An object without its version, which changes when nothing else does."""

    uid: str
    version: int
    mark: int
    """Hash of the content, to know a change by."""
    packed: bytes


class Cache:
    """All watched objects. Methods that change it give the keys of our objects that have to be looked at for it."""

    def __init__(self) -> None:
        self._entries: dict[Resource, dict[Name, _Entry]] = {}
        self._packing = Packing()
        self._groups: dict[Hashable, tuple[tuple[Resource, Name], ...]] = {}
        self._graves: OrderedDict[str, None] = OrderedDict()
        """Uids of objects that are gone."""
        self._ends: OrderedDict[tuple[Resource, Name], int] = OrderedDict()
        """The version at which the last object of a name was gone; what is older is about it or those before it."""

    # Filling

    def put(self, resource: Resource, raw: Raw) -> tuple[Key, ...]:
        """Take in an object as the API server gave it."""
        metadata = raw["metadata"]
        name = (sys.intern(metadata.get("namespace", "")), metadata["name"])
        uid, version = metadata["uid"], int(metadata["resourceVersion"])
        known = self._entries.get(resource, {}).get(name)
        newest = self._ends.get((resource, name), 0) if known is None else known.version
        if uid in self._graves or version <= newest:
            return ()
        trimmed = trim(resource, raw)
        content = orjson.dumps(trimmed)
        mark = hash(content)
        if known is not None and known.uid == uid and known.mark == mark:
            known.version = version
            return ()
        woken = woken_by(resource, trimmed)
        if known is not None:
            if known.uid != uid:
                self._bury(resource, name, known.uid, known.version)
            before = self._unpack(resource, known)
            woken = tuple(dict.fromkeys((*woken, *woken_by(resource, before))))
            self._leave(resource, name, before)
        self._entries.setdefault(resource, {})[name] = _Entry(uid, version, mark, self._packing.pack(resource, content))
        self._join(resource, name, trimmed)
        return woken

    def remove(self, resource: Resource, raw: Raw) -> tuple[Key, ...]:
        """Take note of an object's deletion."""
        metadata = raw["metadata"]
        name = (metadata.get("namespace", ""), metadata["name"])
        return self.bury(resource, name, metadata["uid"], int(metadata["resourceVersion"]))

    def bury(self, resource: Resource, name: Name, uid: str, version: int = 0) -> tuple[Key, ...]:
        """Take note that the object with this uid is gone, at that version if it is known."""
        known = self._entries.get(resource, {}).get(name)
        self._bury(resource, name, uid, max(version, known.version if known is not None and known.uid == uid else 0))
        if known is None or known.uid != uid:
            return ()
        return self._drop(resource, name, known)

    def retain(
        self, resource: Resource, namespace: str | None, listed: Iterable[Name], version: str
    ) -> tuple[Key, ...]:
        """Drop what a whole list (of a namespace, or of all) did not hold, unless it is younger than the list."""
        keep, limit = set(listed), int(version)
        gone = [
            (name, entry)
            for name, entry in self._entries.get(resource, {}).items()
            if name not in keep and entry.version <= limit and namespace in (None, name[0])
        ]
        woken: dict[Key, None] = {}
        for name, entry in gone:
            self._bury(resource, name, entry.uid, limit)
            woken.update(dict.fromkeys(self._drop(resource, name, entry)))
        return tuple(woken)

    # Reading

    def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        """An object, or None where none is known."""
        entry = self._entries.get(resource, {}).get((namespace, name))
        return None if entry is None else self._unpack(resource, entry)

    def uid(self, resource: Resource, namespace: str, name: str) -> str | None:
        """The uid of an object, without unpacking it."""
        entry = self._entries.get(resource, {}).get((namespace, name))
        return None if entry is None else entry.uid

    def version(self, resource: Resource, namespace: str, name: str) -> str | None:
        """The version of an object, without unpacking it."""
        entry = self._entries.get(resource, {}).get((namespace, name))
        return None if entry is None else str(entry.version)

    def members(self, group: Hashable) -> Iterator[tuple[Resource, dict[str, Any]]]:
        """All objects of a group (see relations)."""
        for resource, name in self._groups.get(group, ()):
            yield resource, self._unpack(resource, self._entries[resource][name])

    def keys(self) -> tuple[Key, ...]:
        """The keys of all objects of our kinds."""
        return tuple(Key(kind, *name) for kind, resource in OURS.items() for name in self._entries.get(resource, {}))

    def count(self, resource: Resource) -> int:
        """How many objects of a resource are known."""
        return len(self._entries.get(resource, {}))

    def all(self, resource: Resource) -> Iterator[dict[str, Any]]:
        """All objects of a resource."""
        for entry in list(self._entries.get(resource, {}).values()):
            yield self._unpack(resource, entry)

    def _unpack(self, resource: Resource, entry: _Entry) -> dict[str, Any]:
        raw: dict[str, Any] = orjson.loads(self._packing.unpack(resource, entry.packed))
        raw["metadata"]["resourceVersion"] = str(entry.version)
        return raw

    # Indices

    def _drop(self, resource: Resource, name: Name, entry: _Entry) -> tuple[Key, ...]:
        del self._entries[resource][name]
        raw = self._unpack(resource, entry)
        self._leave(resource, name, raw)
        return woken_by(resource, raw)

    def _join(self, resource: Resource, name: Name, raw: Raw) -> None:
        for group in groups_of(resource, raw):
            self._groups[group] = (*self._groups.get(group, ()), (resource, name))

    def _leave(self, resource: Resource, name: Name, raw: Raw) -> None:
        for group in groups_of(resource, raw):
            left = tuple(member for member in self._groups[group] if member != (resource, name))
            if left:
                self._groups[group] = left
            else:
                del self._groups[group]

    def _bury(self, resource: Resource, name: Name, uid: str, version: int) -> None:
        self._graves[uid] = None
        self._ends[resource, name] = max(version, self._ends.get((resource, name), 0))
        self._ends.move_to_end((resource, name))
        for memory in (self._graves, self._ends):
            if len(memory) > _MOST_GRAVES:
                memory.popitem(last=False)
