"""JobSets, a kind that a cluster may have or not: whether it is served, and its watches while it is.

Run by assembly. What is served is asked of the API server again and again, because that needs no permission, where
watching CustomResourceDefinitions needs one for the whole cluster.
"""

import asyncio
import logging
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import orjson

from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.api.errors import ApiError, Forbidden, NotFound
from plumbline_operator.kube.api.resources import JOB_SETS, OPTIONAL
from plumbline_operator.kube.permissions import find_missing_for_job_sets
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.kube.seen.feed import Feed
from plumbline_operator.kube.seen.watch import Watch
from plumbline_operator.kube.settings import KubeSettings
from plumbline_operator.plan.jobsets import MESSAGE_PATTERNS

__all__ = ["JobSets"]

_LOG: Final = logging.getLogger(__name__)
_SURE: Final = 2
"""Looks in a row that must miss a kind that was served, before what was made of it is taken for gone."""

_LISTED: Final = 30.0
"""Seconds that the first lists may take."""


class JobSets:
    """Whether stages of several nodes become JobSets."""

    def __init__(self, client: KubeClient, cache: Cache, feed: Feed, random: Random, settings: KubeSettings) -> None:
        self.known = asyncio.Event()
        """Set once the cluster has been asked and, where it serves them, every JobSet is in the cache."""
        self.watches: tuple[Watch, ...] = ()
        self._client = client
        self._cache = cache
        self._feed = feed
        self._random = random
        self._settings = settings
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._usable = False
        self._misses = 0
        self._pause = settings.poll

    def usable(self) -> bool:
        """Whether one that is wanted now can be made, and would be seen."""
        return self._usable

    async def run(self) -> None:
        """Look for ever; ends with an error where a watch does."""
        try:
            while True:
                if self._settings.job_sets:
                    await self._try()
                else:
                    self.known.set()
                await self._sleep(self._pause if self.known.is_set() else min(1.0, self._pause))
        finally:
            await self._stop()

    async def _try(self) -> None:
        try:
            await self.look()
        except (ApiError, TimeoutError) as error:
            # What is known stays; before anything is, this is asked again soon.
            _LOG.warning("JobSets not looked for", extra={"error": type(error).__name__})
        else:
            self.known.set()

    async def look(self) -> None:
        """Ask once, and begin or end to use them accordingly.

        Raises:
            ApiError: There was no answer.
            TimeoutError: They are served, and could not be looked at yet.
        """
        self._pause = self._settings.poll
        if await self._is_served():
            self._misses = 0
            if not self._tasks:
                await self._begin()
        elif self._tasks:
            self._misses += 1
            if self._misses >= _SURE:
                await self._end()

    async def _is_served(self) -> bool:
        found = await self._find(f"/apis/{JOB_SETS.group}/{JOB_SETS.version}")
        return any(one.get("name") == JOB_SETS.plural for one in found.get("resources") or ())

    async def _find(self, path: str) -> Mapping[str, Any]:
        try:
            return await self._client.document(path)
        except NotFound:
            return {}

    async def _begin(self) -> None:
        lacking = await self._lacking()
        if lacking:
            _LOG.warning("JobSets are served and not used", extra={"lacking": lacking})
            self._pause = self._settings.relist
            return
        namespaces = self._settings.namespaces or (None,)
        self.watches = tuple(
            Watch(self._client, OPTIONAL, namespace, self._feed, self._random, relist=self._settings.relist)
            for namespace in namespaces
        )
        self._tasks = tuple(asyncio.create_task(one.run(), name=f"watch {one.title}") for one in self.watches)
        try:
            await self._synced()
        except TimeoutError:
            await self._stop()
            raise
        self._usable = True
        _LOG.info("JobSets are used for several nodes")

    async def _lacking(self) -> str:
        """What keeps them from being used, in words; raises TimeoutError where that is not known yet."""
        try:
            schemas = await self._find(f"/openapi/v3/apis/{JOB_SETS.group}/{JOB_SETS.version}")
        except Forbidden:
            return "the right to read /openapi/v3, which the role system:discovery gives"
        if not schemas:
            # They are published a moment after the kind is served.
            raise TimeoutError("no schemas")
        if MESSAGE_PATTERNS.encode() not in orjson.dumps(schemas):
            return f"the field {MESSAGE_PATTERNS}; install JobSet 0.10 or newer"
        missing = await find_missing_for_job_sets(self._client, self._settings.namespaces)
        return "; ".join(f"{permission} in {namespace or 'all namespaces'}" for permission, namespace in missing)

    async def _synced(self) -> None:
        """Return once every list was read; raises what ended a watch before."""
        lists = [asyncio.create_task(watch.synced.wait()) for watch in self.watches]
        try:
            async with asyncio.timeout(_LISTED):
                for one in lists:
                    await asyncio.wait([one, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
                    self._raise_failure()
        finally:
            for one in lists:
                one.cancel()

    async def _end(self) -> None:
        self._usable = False
        await self._stop()
        for raw in self._cache.all(JOB_SETS):
            metadata = raw["metadata"]
            self._feed.bury(JOB_SETS, metadata["namespace"], metadata["name"], metadata["uid"])
        _LOG.info("JobSets are not served any more")

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self.watches, self._misses = (), (), 0

    async def _sleep(self, seconds: float) -> None:
        """Wait, but not longer than the watches live."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            self._raise_failure()
        else:
            await asyncio.sleep(seconds)

    def _raise_failure(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
