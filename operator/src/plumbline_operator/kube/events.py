"""Event objects: what a person may want to know when it happens, told the API server in the background.

An event of the same object, reason and words is one object that counts. Telling is best effort: events are not facts
(conditions are), so they wait in a short queue, and are dropped and counted where the server does not take them.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from plumbline_api.names import GROUP, short_hash
from plumbline_operator.decision import Event
from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.api.errors import AlreadyExists, ApiError, Forbidden, NotFound
from plumbline_operator.kube.api.resources import EVENTS, OURS
from plumbline_operator.observed import Key

__all__ = ["EventPoster"]

_LOG: Final = logging.getLogger(__name__)
_MOST_WAITING: Final = 1_000
_MOST_KNOWN: Final = 5_000
_LONGEST_NOTE: Final = 1_000
"""Characters; the API server takes 1,024 bytes less one."""
_PAUSE: Final = 60.0
"""Seconds between two counts of the same event: a person sees that it goes on, and the server has peace."""


@dataclass(frozen=True)
class _Told:
    """An event, about exactly one object."""

    key: Key
    uid: str
    event: Event

    @property
    def name(self) -> str:
        """The same for the same words about the same object, so that a restart tells nothing twice."""
        words = f"{self.uid} {self.event.type} {self.event.reason} {self.event.message}"
        return f"{self.key.name[:200]}.{short_hash(words, 16)}"


class EventPoster:
    """Tells events, a few at a time."""

    def __init__(self, client: KubeClient, identity: str, now: Callable[[], datetime]) -> None:
        self.dropped = 0
        """How many were not told."""
        self._client = client
        self._identity = identity
        self._now = now
        self._waiting: asyncio.Queue[_Told] = asyncio.Queue(_MOST_WAITING)
        self._known: OrderedDict[str, tuple[int, datetime]] = OrderedDict()

    def tell(self, key: Key, uid: str, event: Event) -> None:
        """Let an event be told soon."""
        try:
            self._waiting.put_nowait(_Told(key, uid, event))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Tell for ever."""
        while True:
            told = await self._waiting.get()
            try:
                await self._post(told)
            except ApiError as error:
                self.dropped += 1
                facts = {"object": str(told.key), "reason": told.event.reason.value, "code": error.code}
                _LOG.log(logging.INFO if _is_gone(error) else logging.WARNING, "event not told", extra=facts)
            finally:
                self._waiting.task_done()

    async def drain(self, seconds: float) -> None:
        """Wait until all are told, but not longer."""
        try:
            await asyncio.wait_for(self._waiting.join(), seconds)
        except TimeoutError:
            self.dropped += self._waiting.qsize()

    async def _post(self, told: _Told) -> None:
        known = self._known.get(told.name)
        if known is not None:
            await self._count_again(told, *known)
            return
        try:
            await self._client.create(EVENTS, told.key.namespace, self._body(told))
        except AlreadyExists:
            _LOG.debug("event was told before", extra={"object": str(told.key)})
        self._remember(told.name, 1)

    async def _count_again(self, told: _Told, count: int, last: datetime) -> None:
        self._remember(told.name, count + 1, last)
        if (self._now() - last).total_seconds() < _PAUSE:
            return
        self._remember(told.name, count + 1)
        series = {"count": max(count + 1, 2), "lastObservedTime": _precise(self._now())}
        try:
            await self._client.merge(EVENTS, told.key.namespace, told.name, {"series": series})
        except NotFound:
            # The server forgets events after an hour.
            del self._known[told.name]
            await self._post(told)

    def _remember(self, name: str, count: int, last: datetime | None = None) -> None:
        self._known[name] = (count, last or self._now())
        self._known.move_to_end(name)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def _body(self, told: _Told) -> dict[str, Any]:
        key, event, resource = told.key, told.event, OURS[told.key.kind]
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": told.name, "namespace": key.namespace},
            "eventTime": _precise(self._now()),
            "type": event.type.value,
            "reason": event.reason.value,
            "action": "Reconcile",
            "note": event.message.encode()[:_LONGEST_NOTE].decode(errors="ignore"),
            "reportingController": f"{GROUP}/operator",
            "reportingInstance": self._identity[:128],
            "regarding": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "name": key.name,
                "namespace": key.namespace,
                "uid": told.uid,
            },
        }


def _is_gone(error: ApiError) -> bool:
    return isinstance(error, NotFound) or (isinstance(error, Forbidden) and error.ending)


def _precise(moment: datetime) -> str:
    """A time as MicroTime has it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
