"""Watching one resource: a whole list, then every change after it, for as long as the operator runs.

The list and the changes join without a gap, because the watch starts at the version of the list. Where the server has
forgotten that version (410), or tells of a failure within the stream, the list is read again and compared, so that what
vanished meanwhile is noticed. A broken connection goes on where it broke.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Final, Protocol

import orjson

from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.api.errors import (
    ApiError,
    Call,
    Forbidden,
    Gone,
    TooManyRequests,
    Unavailable,
    answer_to_error,
)
from plumbline_operator.kube.api.resources import Resource, Watched
from plumbline_operator.kube.queue import Backoff
from plumbline_operator.kube.seen.cache import Name

__all__ = ["Sink", "Watch"]

Raw = Mapping[str, Any]

_LOG: Final = logging.getLogger(__name__)
_SECONDS: Final = (240, 300)
"""How long one stream may last, at least and at most: streams that began together end apart."""


class Sink(Protocol):
    """Where objects go."""

    def put(self, resource: Resource, raw: Raw) -> None:
        """Take in an object."""

    def remove(self, resource: Resource, raw: Raw) -> None:
        """Take note of a deletion."""

    def retain(self, resource: Resource, namespace: str | None, listed: Iterable[Name], version: str) -> None:
        """Drop what a whole list did not hold."""


class Watch:
    """One resource, in one namespace or in all."""

    def __init__(
        self, client: KubeClient, what: Watched, namespace: str | None, sink: Sink, random: Random, *, relist: float
    ) -> None:
        """Make a watch; `run` runs it.

        Args:
            client: The API server.
            what: What to watch.
            namespace: Where; None for everywhere.
            sink: Told of every object.
            random: For jitter.
            relist: Seconds after which the whole list is compared again, whatever the stream said.
        """
        self.what = what
        self.namespace = namespace
        self.synced = asyncio.Event()
        """Set once a whole list has gone into the sink."""
        self.refused = ""
        """What its role lacks, for example "list jobs.batch in namespace x"; empty while it lacks nothing."""
        self.listed = float("-inf")
        """When the last whole list was begun, in monotonic seconds."""
        self._client = client
        self._sink = sink
        self._random = random
        self._relist = relist
        self._time = asyncio.get_running_loop().time
        self._heard = self._time()
        self._tried = self._time()
        self._told = False
        self._backoff = Backoff(first=0.2, longest=15.0)
        self._version = ""

    @property
    def title(self) -> str:
        """For logs and metrics."""
        return self.what.resource.plural

    @property
    def age(self) -> float:
        """Seconds since the server was last heard of; bookmarks come every minute."""
        return self._time() - self._heard

    @property
    def idle(self) -> float:
        """Seconds since anything was heard or tried: a watch that neither hears nor tries is stuck."""
        return self._time() - max(self._heard, self._tried)

    async def run(self) -> None:
        """Watch for ever."""
        failures = 0
        while True:
            self._tried, self._told = self._time(), False
            try:
                if not self._version:
                    await self.list_now()
                await self._follow()
                failures = 0
            except ApiError as error:
                # A stream that breaks after it has told something works; it is not to be waited for ever longer.
                failures = 1 if self._told else failures + 1
                if not isinstance(error, Unavailable | TooManyRequests):
                    self._version = ""
                if isinstance(error, Forbidden):
                    self.refused = str(error.call)
                facts = {"resource": self.title, "call": str(error.call), "code": error.code, "failures": failures}
                _LOG.log(logging.INFO if isinstance(error, Gone) else logging.WARNING, "watch broke", extra=facts)
                # A forgotten version is common after a pause, and nothing to wait for; a second one is.
                if failures > 1 or not isinstance(error, Gone):
                    delay = self._backoff.delay(failures, self._random)
                    await asyncio.sleep(max(delay, error.retry_after or 0.0))

    async def list_now(self) -> None:
        """Compare with a whole list, read from a quorum."""
        names: list[Name] = []
        begun = self._time()
        version, more = await self._list_page("", names)
        while more:
            # One page may be a hundred objects; others have to have their turn.
            await asyncio.sleep(0)
            version, more = await self._list_page(more, names)
        self._sink.retain(self.what.resource, self.namespace, names, version)
        self._version = version
        self.listed = begun
        self.synced.set()

    async def _list_page(self, more: str, names: list[Name]) -> tuple[str, str]:
        """Take in a page, and let go of it before the next one is read; gives the list's version and what is left."""
        page = await self._client.page(self.what, self.namespace, more)
        self._hear()
        for raw in page.items:
            metadata = raw["metadata"]
            names.append((metadata.get("namespace", ""), metadata["name"]))
            self._sink.put(self.what.resource, raw)
        return page.version, page.more

    async def _follow(self) -> None:
        """Take in changes until the stream ends; leaves the version to go on from, or none to list again."""
        until = self._time() + self._relist * self._random.uniform(0.8, 1.0)
        while self._time() < until:
            seconds = self._random.randint(*_SECONDS)
            async for line in self._client.watch(self.what, self.namespace, self._version, seconds=seconds):
                self._hear()
                if line:
                    self._take(line)
                    self._told = True
        self._version = ""

    def _take(self, line: bytes) -> None:
        call = Call("watch", self.what.resource.title, self.namespace or "")
        try:
            event = orjson.loads(line)
        except ValueError as error:
            raise Unavailable(call, "a line of the stream is no JSON") from error
        kind, raw = event["type"], event["object"]
        if kind == "ERROR":
            raise answer_to_error(call, int(raw.get("code") or 500), raw, None)
        if kind in ("ADDED", "MODIFIED"):
            self._sink.put(self.what.resource, raw)
        elif kind == "DELETED":
            self._sink.remove(self.what.resource, raw)
        self._version = str(raw["metadata"]["resourceVersion"])

    def _hear(self) -> None:
        self._heard, self.refused = self._time(), ""
