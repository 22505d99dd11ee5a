"""A proxy in front of the real API server: what it is told to, it delays, refuses, cuts, or answers itself.

It speaks plain HTTP to the operator and is the administrator towards the API server.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import aiohttp
import kopf
from aiohttp import web

from plumbline_operator.kube.login import Login
from tests.cluster.access import tls_context
from tests.cluster.client import Object
from tests.cluster.controlplane import ControlPlane

__all__ = ["Passed", "Proxy", "proxy"]

HOP: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "keep-alive"})
WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True)
class Passed:
    """A request on its way."""

    method: str
    path: str
    watch: bool

    @property
    def writes(self) -> bool:
        """Whether it changes objects; reviews and events are none of ours."""
        return self.method in WRITES and "reviews" not in self.path and "events.k8s.io" not in self.path


Refusal = tuple[int, Object]


@dataclass
class Proxy:
    """What goes through it, and what shall not."""

    url: str = ""
    passed: list[tuple[Passed, int]] = field(default_factory=list)
    """Every request that was answered, with its status."""
    refuse: Callable[[Passed], Refusal | None] = lambda _: None
    """Asked before a request goes on: an answer of its own, or None."""
    cut_after: int = 0
    """After so many writes were carried out, their last answer is lost, and nothing goes through any more."""
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once nothing goes through."""
    streams: dict[int, web.Request] = field(default_factory=dict)
    """The watches that are under way."""

    def login(self) -> Login:
        """How the operator comes here."""
        return Login(asyncio.get_running_loop().time, lambda: kopf.ConnectionInfo(server=self.url))

    def drop_watches(self) -> int:
        """Break every stream; how many there were."""
        dropped = list(self.streams.values())
        for request in dropped:
            _abort(request)
        return len(dropped)

    @property
    def writes(self) -> list[Passed]:
        """The writes that the server carried out."""
        return [request for request, status in self.passed if request.writes and status < HTTPStatus.BAD_REQUEST]


@asynccontextmanager
async def proxy(plane: ControlPlane) -> AsyncIterator[Proxy]:
    """A proxy of its own, for the time of a test."""
    ours = Proxy()
    connector = aiohttp.TCPConnector(ssl=tls_context(plane.authority, plane.admin), limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            return await _pass_on(ours, session, plane.url, request)

        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ours.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield ours
        finally:
            await runner.cleanup()


async def _pass_on(ours: Proxy, session: aiohttp.ClientSession, url: str, request: web.Request) -> web.StreamResponse:
    what = Passed(request.method, request.path, "watch" in request.query)
    body = await request.read()
    if ours.silent.is_set():
        return _abort(request)
    refusal = ours.refuse(what)
    if refusal is not None:
        ours.passed.append((what, refusal[0]))
        return web.json_response({"kind": "Status", "apiVersion": "v1", **refusal[1]}, status=refusal[0])
    headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP}
    async with session.request(request.method, url + request.path_qs, data=body or None, headers=headers) as answer:
        ours.passed.append((what, answer.status))
        if what.watch and answer.status == HTTPStatus.OK:
            return await _stream(ours, request, answer)
        content = await answer.read()
    if ours.cut_after and len(ours.writes) >= ours.cut_after:
        ours.silent.set()
        ours.drop_watches()
        return _abort(request)
    kept = {key: value for key, value in answer.headers.items() if key.lower() in ("content-type", "retry-after")}
    return web.Response(status=answer.status, body=content, headers=kept)


async def _stream(ours: Proxy, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": "application/json"})
    await stream.prepare(request)
    ours.streams[id(request)] = request
    try:
        async for chunk in answer.content.iter_any():
            await stream.write(chunk)
    except (aiohttp.ClientError, ConnectionError):
        _abort(request)
    finally:
        del ours.streams[id(request)]
    return stream


def _abort(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=HTTPStatus.BAD_GATEWAY)
