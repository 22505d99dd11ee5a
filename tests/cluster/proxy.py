"""A proxy in front of the real API server: what it is told to, it delays, refuses, cuts, or answers itself.

It speaks plain HTTP to the operator and is the administrator towards the API server.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import aiohttp
import kopf
from aiohttp import web

from plumbline_operator.kube.api.login import Login
from tests.cluster.access import tls_context
from tests.cluster.client import Object, ended_at_once, hang_up
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
    lose: Callable[[Passed], bool] = lambda _: False
    """Told of every request that the server has carried out; True loses the answer."""
    cut: Callable[[bytes], bool] = lambda _: False
    """Told of every piece of a watch; True lets half of it through and breaks the stream."""
    again: Callable[[bytes], bool] = lambda _: False
    """Told of every piece of a watch; True sends it twice."""
    delay: float = 0.0
    """Seconds that every answer comes late."""
    streams: dict[int, web.Request] = field(default_factory=dict)
    """The watches that are under way."""
    asking: set[asyncio.Future[aiohttp.ClientResponse]] = field(default_factory=set)
    """Calls that the server has not answered yet."""

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
    async with (
        ended_at_once(connector),
        aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session,
    ):

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
            if ours.asking:
                await asyncio.wait(ours.asking)


async def _pass_on(ours: Proxy, session: aiohttp.ClientSession, url: str, request: web.Request) -> web.StreamResponse:
    what = Passed(request.method, request.path, "watch" in request.query)
    body = await request.read()
    refusal = ours.refuse(what)
    if refusal is not None:
        ours.passed.append((what, refusal[0]))
        seconds = refusal[1].get("details", {}).get("retryAfterSeconds")
        answered = {"kind": "Status", "apiVersion": "v1", **refusal[1]}
        return web.json_response(
            answered, status=refusal[0], headers={"Retry-After": str(seconds)} if seconds else None
        )
    headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP}
    answer = await _ask(
        ours, session.request(request.method, url + request.path_qs, data=body or None, headers=headers)
    )
    try:
        ours.passed.append((what, answer.status))
        await asyncio.sleep(ours.delay)
        if ours.lose(what):
            return _abort(request)
        if what.watch and answer.status == HTTPStatus.OK:
            return await _stream(ours, request, answer)
        content = await answer.read()
    finally:
        hang_up(answer)
    kept = {key: value for key, value in answer.headers.items() if key.lower() in ("content-type", "retry-after")}
    return web.Response(status=answer.status, body=content, headers=kept)


async def _ask(ours: Proxy, call: Awaitable[aiohttp.ClientResponse]) -> aiohttp.ClientResponse:
    """The server's answer; what has been asked for is carried out, also if nobody waits for it any more."""
    asking = asyncio.ensure_future(call)
    ours.asking.add(asking)
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        asking.add_done_callback(_close)
        raise
    finally:
        asking.add_done_callback(ours.asking.discard)


def _close(asking: asyncio.Future[aiohttp.ClientResponse]) -> None:
    if not asking.cancelled() and asking.exception() is None:
        hang_up(asking.result())


async def _stream(ours: Proxy, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": "application/json"})
    await stream.prepare(request)
    ours.streams[id(request)] = request
    try:
        async for chunk in answer.content.iter_any():
            if ours.cut(chunk):
                await stream.write(chunk[: len(chunk) // 2])
                _abort(request)
                break
            await stream.write(chunk * 2 if chunk.endswith(b"\n") and ours.again(chunk) else chunk)
    except (aiohttp.ClientError, ConnectionError):
        _abort(request)
    finally:
        del ours.streams[id(request)]
    return stream


def _abort(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=HTTPStatus.BAD_GATEWAY)
