"""ConfigMaps that people write and our objects name: fetched by name when one is needed, and looked at again.

They are not watched, because that would need the right to read every ConfigMap with its content.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.api.errors import ApiError, NotFound
from plumbline_operator.kube.api.resources import CONFIG_MAPS
from plumbline_operator.kube.seen.mentions import ConfigMapName, Mentions
from plumbline_operator.observed import Key

__all__ = ["NamedConfigMaps"]

Raw = Mapping[str, Any]

_LOG: Final = logging.getLogger(__name__)
_FRESH: Final = 2.0
"""Seconds for which a fetched one is good enough for further objects that name it."""


@dataclass(frozen=True)
class _Fetched:
    raw: Raw | None
    moment: float

    @property
    def version(self) -> str:
        return "" if self.raw is None else str(self.raw["metadata"]["resourceVersion"])


class NamedConfigMaps:
    """Those that are named now."""

    def __init__(
        self,
        client: KubeClient,
        mentions: Mentions,
        wake: Callable[[Key], None],
        random: Random,
        *,
        period: float = 20.0,
    ) -> None:
        """Begin with none.

        Args:
            client: The API server.
            mentions: Which are named, and by whom.
            wake: Told whom a change concerns.
            random: For jitter.
            period: Seconds between two looks at each.
        """
        self._client = client
        self._mentions = mentions
        self._wake = wake
        self._random = random
        self._period = period
        self._time = asyncio.get_running_loop().time
        self._fetched: dict[ConfigMapName, _Fetched] = {}
        self._fetching: dict[ConfigMapName, asyncio.Task[_Fetched]] = {}

    async def get(self, name: ConfigMapName) -> Raw | None:
        """The ConfigMap, or None where there is none. Raises ApiError."""
        known = self._fetched.get(name)
        if known is None or self._time() - known.moment > _FRESH:
            known = await self._fetch(name)
        return known.raw

    async def run(self) -> None:
        """Look again for ever, and wake whom a change concerns; when cancelled, end what is being fetched."""
        try:
            while True:
                await asyncio.sleep(self._period * self._random.uniform(0.8, 1.2))
                for name in self._mentions.config_maps():
                    await self._look_again(name)
                for name in self._fetched.keys() - set(self._mentions.config_maps()):
                    del self._fetched[name]
        finally:
            left = list(self._fetching.values())
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _look_again(self, name: ConfigMapName) -> None:
        try:
            await self._fetch(name)
        except ApiError as error:
            _LOG.warning("ConfigMap out of reach", extra={"object": "/".join(name), "code": error.code})

    async def _fetch(self, name: ConfigMapName) -> _Fetched:
        """Fetch it; many that ask at once cause one call."""
        task = self._fetching.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch_now(name))
            self._fetching[name] = task
            task.add_done_callback(lambda done: self._fetched_now(name, done))
        return await asyncio.shield(task)

    def _fetched_now(self, name: ConfigMapName, task: asyncio.Task[_Fetched]) -> None:
        self._fetching.pop(name, None)
        if not task.cancelled():
            # Whoever waited has its error already; where nobody waits any more, nobody has to know.
            task.exception()

    async def _fetch_now(self, name: ConfigMapName) -> _Fetched:
        try:
            raw: Raw | None = await self._client.get(CONFIG_MAPS, *name)
        except NotFound:
            raw = None
        before, found = self._fetched.get(name), _Fetched(raw, self._time())
        self._fetched[name] = found
        if before is not None and before.version != found.version:
            # Whoever asked for it knows; all others that name it have to hear.
            for key in self._mentions.namers(name):
                self._wake(key)
        return found
