"""Where everything that is seen of the API server goes: into the cache, and from there to the queue.

Called by watches and by the Cluster port for the answers to its own writes. Does nothing but remember and enqueue.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from plumbline_api.names import Kind
from plumbline_operator.kube.api.resources import OURS, Resource
from plumbline_operator.kube.queue import WorkQueue
from plumbline_operator.kube.seen.cache import Cache, Name
from plumbline_operator.kube.seen.census import Census
from plumbline_operator.kube.seen.mentions import Mentions
from plumbline_operator.observed import Key

__all__ = ["Feed"]

Raw = Mapping[str, Any]

_KINDS: Final[Mapping[Resource, Kind]] = {resource: kind for kind, resource in OURS.items()}


class Feed:
    """Keeps the cache and wakes whom a change concerns: the object itself, its owner, and all that name it."""

    def __init__(self, cache: Cache, mentions: Mentions, census: Census, queue: WorkQueue[Key]) -> None:
        self._cache = cache
        self._mentions = mentions
        self._census = census
        self._queue = queue
        self._under_way: dict[tuple[Resource, Name], _Write] = {}

    @contextmanager
    def writing(self, resource: Resource, name: Name, by: Key) -> Iterator[None]:
        """While an object is written: its watch may tell of the write before the answer to it has come.

        That is no news to whose turn of work wrote it. What else happens to the object meanwhile is, and wakes it at
        the end, also where the call has failed.
        """
        write = self._under_way[resource, name] = _Write(by)
        try:
            yield
        finally:
            self._under_way.pop((resource, name), None)
            if write.told not in ("", write.answered):
                self._queue.add(by)

    def put(self, resource: Resource, raw: Raw, *, by: Key | None = None) -> None:
        """Take in an object.

        Args:
            resource: What it is.
            raw: The object.
            by: Whose turn of work changed it; that object need not be looked at again for it.
        """
        woken = self._cache.put(resource, raw)
        if woken and resource in _KINDS:
            self._census.count(_key(resource, raw), raw)
        write = self._under_way.get((resource, _name(raw))) if self._under_way else None
        if write is not None:
            write.note(str(raw["metadata"]["resourceVersion"]), by, woken)
        self._wake(resource, woken, by if write is None else write.by)

    def remove(self, resource: Resource, raw: Raw, *, by: Key | None = None) -> None:
        """Take note of a deletion."""
        self._wake(resource, self._cache.remove(resource, raw), by)

    def bury(self, resource: Resource, namespace: str, name: str, uid: str, *, by: Key | None = None) -> None:
        """Take note that an object turned out to be gone."""
        self._wake(resource, self._cache.bury(resource, (namespace, name), uid), by)

    def retain(self, resource: Resource, namespace: str | None, listed: Iterable[Name], version: str) -> None:
        """Drop what a whole list did not hold."""
        self._wake(resource, self._cache.retain(resource, namespace, listed, version), None)

    def _wake(self, resource: Resource, woken: tuple[Key, ...], by: Key | None) -> None:
        for key in woken:
            if key != by:
                self._queue.add(key)
            if resource not in _KINDS:
                continue
            if self._cache.uid(resource, key.namespace, key.name) is None:
                self._census.leave_out(key)
            for namer in self._mentions.namers(key):
                self._queue.add(namer)


@dataclass
class _Write:
    """A write that has not been answered yet."""

    by: Key
    told: str = ""
    """The newest version that its watch told of, if that concerns who wrote."""
    answered: str = ""

    def note(self, version: str, by: Key | None, woken: tuple[Key, ...]) -> None:
        """Take note of a version of the object: the answer's, or one that the watch tells of."""
        if by == self.by:
            self.answered = version
        elif self.by in woken:
            self.told = version


def _key(resource: Resource, raw: Raw) -> Key:
    return Key(_KINDS[resource], *_name(raw))


def _name(raw: Raw) -> Name:
    metadata = raw["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
