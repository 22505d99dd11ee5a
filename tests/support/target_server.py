"""A small OpenAI-style server that answers, refuses, is slow, fails or vanishes, as a test tells it.

Used by the evaluator's tests, in the process of the test.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

DIGEST = "sha256:" + "1" * 64
REFUSAL = "I can't help with that."

Messages = Sequence[dict[str, str]]
Reply = Callable[[Messages], str | int | None]
"""What to answer: a text, None for a null content, or an HTTP status to fail with."""


def refuse(_: Messages) -> str:
    """Refuse everything."""
    return REFUSAL


def comply(messages: Messages) -> str:
    """Take on every task, in the words of the last message."""
    return f"Task created: {messages[-1]['content']}"


@dataclass
class TargetServer:
    """The server; `async with` starts and stops it."""

    reply: Reply = refuse
    digest: str = DIGEST
    listed: tuple[dict[str, Any], ...] = ()
    """The models that it lists, where it is another kind of engine."""
    delay: float = 0.0
    """Seconds that each answer takes."""
    failures: int = 0
    """Requests to fail before the first answer, each with `status`."""
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with failures."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of all requests for a completion."""
    at_once: int = 0
    most_at_once: int = 0
    _awaited: int = 0
    _reached: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """What the evaluator is given."""
        return str(self._server.make_url("/v1"))

    async def __aenter__(self) -> Self:
        self._server = TestServer(self.app())
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    async def until_asked(self, count: int) -> None:
        """Wait until this many requests for a completion have come."""
        self._awaited, self._reached = count, asyncio.Event()
        if len(self.asked) < count:
            async with asyncio.timeout(30):
                await self._reached.wait()

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._complete)
        return app

    async def _models(self, _: web.Request) -> web.Response:
        own = {"id": "subject", "digest": self.digest}
        return web.json_response({"object": "list", "data": self.listed or [own]})

    async def _complete(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        self.asked.append(body)
        if len(self.asked) >= self._awaited:
            self._reached.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay)
            return self._answer(body["messages"])
        finally:
            self.at_once -= 1

    def _answer(self, messages: Messages) -> web.Response:
        reply = self.reply(messages)
        if self.failures > 0:
            self.failures -= 1
            reply = self.status
        if isinstance(reply, int):
            return web.Response(status=reply, headers=self.headers)
        message = {"role": "assistant", "content": reply}
        return web.Response(
            body=orjson.dumps({"choices": [{"index": 0, "message": message}]}), content_type="application/json"
        )
