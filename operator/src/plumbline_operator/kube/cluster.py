"""The Cluster port over the API server: what is observed comes from the cache, what is decided goes out as calls.

Every write is fenced: by the lease, by the version or uid that was seen, by a name that is computed from the content. A
stale view of the world therefore ends in a conflict, is brought up to date and decided anew; it never becomes a second
Job or a lost status. Knows no retries: whoever drives it asks again.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from plumbline_operator.cluster import Sight
from plumbline_operator.decision import Child, Event
from plumbline_operator.kube.api.client import KubeClient, Preconditions
from plumbline_operator.kube.api.errors import AlreadyExists, Conflict, NotFound
from plumbline_operator.kube.api.resources import CHILDREN, CONFIG_MAPS, JOB_SETS, JOBS, OURS, Resource
from plumbline_operator.kube.events import EventPoster
from plumbline_operator.kube.seen.documents import owner_reference, status_body
from plumbline_operator.kube.seen.feed import Feed
from plumbline_operator.kube.seen.view import View, belongs
from plumbline_operator.observed import ChildRef, Key, PlumblineStatus

__all__ = ["ChildInTheWay", "KubeCluster", "ObjectGone"]

Raw = Mapping[str, Any]

_MADE_ONCE: Final = frozenset({JOBS, JOB_SETS, CONFIG_MAPS})
"""What is never changed once it exists: its name is computed from its content."""


class ChildInTheWay(Exception):
    """A child cannot be made, because something else has its name."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        """Tell what, and whether it is going away by itself."""
        super().__init__(message)
        self.passing = passing


class ObjectGone(Exception):
    """The object is not there any more, so nothing can be done for it."""


@dataclass(frozen=True)
class _Seen:
    """Which state of which object the present turn of work is about."""

    uid: str
    version: str


class KubeCluster:
    """Objects, Jobs and Deployments of the namespaces that are watched."""

    def __init__(
        self, view: View, client: KubeClient, feed: Feed, events: EventPoster, fence: Callable[[], None]
    ) -> None:
        """Make the port.

        Args:
            view: Where observations come from.
            client: The API server.
            feed: Where the answers to our own writes go.
            events: Tells events.
            fence: Raises where this replica may not write any more; called before every write.
        """
        self._view = view
        self._client = client
        self._feed = feed
        self._events = events
        self._fence = fence
        self._seen: dict[Key, _Seen] = {}

    async def keys(self) -> tuple[Key, ...]:
        """All objects of our kinds."""
        return self._view.cache.keys()

    async def observe(self, key: Key) -> Sight | None:
        """The object and its surroundings now, or None where it is gone; raises what View.look raises."""
        raw = self._view.cache.get(OURS[key.kind], key.namespace, key.name)
        if raw is None:
            self._view.mentions.record(key, ())
            return None
        self._seen[key] = _Seen(raw["metadata"]["uid"], raw["metadata"]["resourceVersion"])
        return await self._view.look(key, raw)

    async def apply(self, owner: Key, child: Child) -> None:
        """Create the child where it does not exist; make one that may change what its manifest says.

        Raises:
            ChildInTheWay: Another object has its name, or it is being deleted.
            ApiError: The API server refuses, or does not answer.
        """
        resource, seen = _resource(child.ref), self._seen[owner]
        metadata = {**child.manifest["metadata"], "ownerReferences": [owner_reference(owner, seen.uid)]}
        body = {**child.manifest, "metadata": metadata}
        if resource in _MADE_ONCE:
            await self._create(resource, owner, child.ref, body)
        else:
            await self._change(resource, owner, child.ref, body)

    async def delete(self, owner: Key, ref: ChildRef) -> None:
        """Remove the child in the state it was seen in; another owner's child stays.

        Raises:
            Conflict: It has changed; decide anew, now that it was looked at again.
        """
        resource, seen = _resource(ref), self._seen[owner]
        child = self._view.cache.get(resource, owner.namespace, ref.name)
        if child is None or not belongs(child, seen.uid):
            return
        metadata = child["metadata"]
        expected = Preconditions(metadata["uid"], metadata["resourceVersion"])
        self._fence()
        try:
            answer = await self._client.delete(resource, owner.namespace, ref.name, expected)
        except NotFound:
            self._feed.bury(resource, owner.namespace, ref.name, expected.uid, by=owner)
        except Conflict:
            await self._look_again(resource, owner.namespace, ref.name, expected.uid, owner)
            raise
        else:
            if answer.get("kind") == "Status":
                self._feed.bury(resource, owner.namespace, ref.name, expected.uid, by=owner)
            else:
                self._feed.put(resource, answer, by=owner)

    async def write_status(self, key: Key, status: PlumblineStatus) -> None:
        """Replace the status of the object in the state it was seen in.

        Raises:
            Conflict: It has changed; decide anew, now that it was looked at again.
            ObjectGone: It has been deleted.
        """
        resource, seen = OURS[key.kind], self._seen[key]
        body = status_body(key, seen.uid, seen.version, status)
        self._fence()
        try:
            with self._feed.writing(resource, (key.namespace, key.name), key):
                after = await self._client.replace(resource, key.namespace, key.name, body, subresource="status")
                self._feed.put(resource, after, by=key)
        except NotFound as error:
            self._feed.bury(resource, key.namespace, key.name, seen.uid)
            raise ObjectGone(str(key)) from error
        except Conflict:
            await self._look_again(resource, key.namespace, key.name, seen.uid, key)
            raise
        self._seen[key] = _Seen(seen.uid, after["metadata"]["resourceVersion"])

    async def emit(self, key: Key, event: Event) -> None:
        """Record an event about the object, soon and if possible."""
        self._events.tell(key, self._seen[key].uid, event)

    def forget(self, key: Key) -> None:
        """The present turn of work is over."""
        self._seen.pop(key, None)

    async def _create(self, resource: Resource, owner: Key, ref: ChildRef, body: Raw) -> None:
        self._fence()
        try:
            with self._feed.writing(resource, (owner.namespace, ref.name), owner):
                self._feed.put(resource, await self._client.create(resource, owner.namespace, body), by=owner)
        except AlreadyExists:
            await self._take_note(resource, owner, ref)

    async def _change(self, resource: Resource, owner: Key, ref: ChildRef, body: Raw) -> None:
        known = self._view.cache.get(resource, owner.namespace, ref.name)
        if known is None or not belongs(known, self._seen[owner].uid):
            # Applying takes over whatever has the name, so what is not known to be ours is looked at first.
            with suppress(NotFound):
                await self._take_note(resource, owner, ref)
        self._fence()
        self._feed.put(resource, await self._client.apply(resource, owner.namespace, ref.name, body))

    # After a conflict

    async def _take_note(self, resource: Resource, owner: Key, ref: ChildRef) -> None:
        """Look at the object that has the child's name already; it may even have done its work."""
        found = await self._client.get(resource, owner.namespace, ref.name)
        self._feed.put(resource, found)
        where = f"{ref.kind} {ref.name} of namespace {owner.namespace}"
        if not belongs(found, self._seen[owner].uid):
            references = found["metadata"].get("ownerReferences") or ()
            other = next((f"{one['kind']} {one['name']}" for one in references if one.get("controller")), "nobody")
            raise ChildInTheWay(f"{where} is needed, but there is one that belongs to {other}; delete that one")
        if "deletionTimestamp" in found["metadata"]:
            raise ChildInTheWay(f"{where} is needed, but the one that exists is still being deleted", passing=True)

    async def _look_again(self, resource: Resource, namespace: str, name: str, uid: str, by: Key) -> None:
        """Bring the cache up to date about one object, without waiting for the watch."""
        try:
            self._feed.put(resource, await self._client.get(resource, namespace, name), by=by)
        except NotFound:
            self._feed.bury(resource, namespace, name, uid, by=by)


def _resource(ref: ChildRef) -> Resource:
    found = CHILDREN.get(ref.kind)
    if found is None:
        raise ValueError(f"a {ref.kind} is wanted, a kind that the operator does not know")
    return found
