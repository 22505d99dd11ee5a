"""A server that answers as a test says, for what the real API server cannot be made to do: fail on demand.

Not an emulator: it knows no objects. Tests of behaviour run against the real one (tests/cluster).
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
import orjson
from aiohttp import web

from plumbline_operator.kube.api.client import KubeClient, Timeouts
from plumbline_operator.kube.api.login import Login

__all__ = ["Asked", "ScriptedApi", "answer", "events", "failure", "scripted_api"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass
class ScriptedApi:
    """Answers in the order given, whatever is asked; the last one again and again."""

    url: str = ""
    script: deque[Handler] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    token: str = "first"
    logins: int = 0

    def say(self, *answers: Handler) -> None:
        """Give the next answers."""
        self.script.extend(answers)

    def login(self) -> Login:
        """Credentials for this server, with the token of the moment."""

        def find() -> kopf.ConnectionInfo:
            self.logins += 1
            return kopf.ConnectionInfo(server=self.url, token=self.token)

        return Login(asyncio.get_running_loop().time, find)

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[KubeClient]:
        """A client of this server."""
        client = KubeClient(self.login(), timeouts=Timeouts(connect=0.5, total=0.5, silence=0.5), **options)
        try:
            yield client
        finally:
            await client.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        text = await request.read()
        body = orjson.loads(text) if text else None
        self.asked.append(Asked(request.method, request.path, dict(request.query), dict(request.headers), body))
        return await (self.script.popleft() if len(self.script) > 1 else self.script[0])(request)


@asynccontextmanager
async def scripted_api() -> AsyncIterator[ScriptedApi]:
    """A server of its own."""
    api = ScriptedApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        await runner.cleanup()


def answer(body: Any = None, code: int = 200, *, delay: float = 0.0, **headers: str) -> Handler:
    """JSON, or bytes as they are; code 0 breaks the connection."""

    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(delay)
        if code == 0 and request.transport is not None:
            request.transport.close()
        content = body if isinstance(body, bytes) else orjson.dumps(body if body is not None else {})
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=content, status=code or 200, headers={"Content-Type": "application/json"} | named)

    return handler


def failure(code: int, reason: str = "", message: str = "no", **details: Any) -> Handler:
    """A Status as the API server gives it."""
    return answer({"kind": "Status", "reason": reason, "message": message, "details": details}, code)


def events(*lines: bytes | Mapping[str, Any], then: str = "end", delay: float = 0.0) -> Handler:
    """A watch: its lines, and then its end, a broken connection, or silence."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(line if isinstance(line, bytes) else orjson.dumps(line) + b"\n")
            await asyncio.sleep(delay)
        if then == "silence":
            await asyncio.sleep(3600)
        if then == "break" and request.transport is not None:
            request.transport.abort()
        return response

    return handler
