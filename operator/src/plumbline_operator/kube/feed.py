"""Where everything that is seen of the API server goes: into the cache, and from there to the queue.

Called by watches and by the Cluster port for the answers to its own writes. Does nothing but remember and enqueue.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from plumbline_api.names import Kind
from plumbline_operator.kube.cache import Cache, Name
from plumbline_operator.kube.census import Census
from plumbline_operator.kube.mentions import Mentions
from plumbline_operator.kube.queue import WorkQueue
from plumbline_operator.kube.resources import OURS, Resource
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
        self._wake(resource, woken, by)

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


def _key(resource: Resource, raw: Raw) -> Key:
    metadata = raw["metadata"]
    return Key(_KINDS[resource], metadata.get("namespace", ""), metadata["name"])
