"""The tables of inputs at the API server, for `plumbline push`: read, and extended without losing anybody's entries.

With the credentials of whoever runs the command. The operator itself only reads them, by way of its view.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from plumbline_api.names import INPUTS_CONFIG_MAP
from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.api.errors import AlreadyExists, Conflict, NotFound
from plumbline_operator.kube.api.login import Login
from plumbline_operator.kube.api.resources import CONFIG_MAPS
from plumbline_operator.kube.seen.inputs import Table, table_in, with_table

__all__ = ["ServedTables"]

R = TypeVar("R")

_TRIES: Final = 25
"""Whoever is overtaken looks again; somebody else got through each time."""


class ServedTables:
    """Those of one API server. Every method may raise ApiError and BadTable."""

    def __init__(self, login: Login | None = None) -> None:
        self._login = login or Login(time.monotonic)

    @property
    def namespace(self) -> str:
        """Where the credentials lead when nobody says otherwise; raises LoginFailed."""
        return self._login.access().namespace

    def read(self, namespace: str) -> Table:
        """What a namespace knows now."""
        return table_in(self._call(lambda client: _find(client, namespace)), namespace)

    def extend(self, namespace: str, entries: Table) -> Table:
        """Let a namespace know more; what it knew before."""
        return self._call(lambda client: _extend(client, namespace, entries))

    def _call(self, work: Callable[[KubeClient], Awaitable[R]]) -> R:
        async def call() -> R:
            client = KubeClient(self._login)
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(call())


async def _find(client: KubeClient, namespace: str) -> Mapping[str, Any] | None:
    try:
        return await client.get(CONFIG_MAPS, namespace, INPUTS_CONFIG_MAP)
    except NotFound:
        return None


async def _extend(client: KubeClient, namespace: str, entries: Table) -> Table:
    for left in reversed(range(_TRIES)):
        there = await _find(client, namespace)
        before = table_in(there, namespace)
        if there is not None and entries.items() <= before.items():
            break
        body = with_table(there, namespace, {**before, **entries})
        try:
            if there is None:
                await client.create(CONFIG_MAPS, namespace, body)
            else:
                await client.replace(CONFIG_MAPS, namespace, INPUTS_CONFIG_MAP, body)
            break
        except (AlreadyExists, Conflict):
            if not left:
                raise
    return before
