"""A small real engine for tests of what stands before engines: an OpenAI-compatible server that says what it is told.

It can stream, cut its bytes anywhere, break off, stall, lie about its digest, and remembers what it was asked.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

__all__ = ["DIGEST", "Script", "Upstream", "answer_bytes", "event_bytes", "running_upstream"]

DIGEST = "sha256:" + "1" * 64


@dataclass(frozen=True)
class Script:
    """How the engine answers."""

    deltas: Sequence[str | dict[str, Any]] = ("Task created.",)
    """A text stands for a delta of content."""
    message: dict[str, Any] | None = None
    """What a whole answer says; by default the texts of the deltas."""
    finish: str | None = "stop"
    piece: int | None = None
    """Bytes per write; by default an event."""
    dies_after: int | None = None
    """Deltas after which the connection breaks."""
    ends_after: int | None = None
    """Deltas after which the stream ends in good order, but incomplete."""
    raw: bytes | None = None
    """Sent as it is, instead of everything above."""
    status: int = 200
    pause: float = 0.0
    """Seconds before each delta."""
    usage: bool = False


@dataclass
class Upstream:
    """The engine's state, which a test may change while it runs."""

    script: Script = field(default_factory=Script)
    digest: str = DIGEST
    listed: tuple[dict[str, Any], ...] = ()
    """The models that it lists, where it is another kind of engine."""
    healthy: bool = True
    silent: bool = False
    """Whether it is too busy to tell how it is."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    broken_off: int = 0
    """Answers that the other side did not want to the end."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/health":
            await asyncio.sleep(60 if self.silent else 0)
            return web.Response(status=200 if self.healthy else 503)
        if request.path == "/v1/models":
            model = {"id": "engine-model", "object": "model", "digest": self.digest}
            return _json({"object": "list", "data": self.listed or [model]})
        self.asked.append(orjson.loads(await request.read()))
        try:
            return await self._answer(request, self.script)
        except (ConnectionError, asyncio.CancelledError):
            self.broken_off += 1
            raise

    async def _answer(self, request: web.BaseRequest, script: Script) -> web.StreamResponse:
        if script.status != 200:
            error = {"message": "SECRET words of the engine", "code": "context_length_exceeded", "param": "messages"}
            return _json({"error": error}, status=script.status)
        if not self.asked[-1].get("stream"):
            await asyncio.sleep(script.pause)
            return web.Response(body=script.raw or answer_bytes(script), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, event in enumerate(event_bytes(script)):
            if number == script.dies_after:
                assert request.transport is not None
                request.transport.abort()
                return response
            if number == script.ends_after:
                break
            await asyncio.sleep(script.pause)
            for start in range(0, len(event), script.piece or len(event)):
                await response.write(event[start : start + (script.piece or len(event))])
                if script.piece:
                    await asyncio.sleep(0)
        await response.write_eof()
        return response


@asynccontextmanager
async def running_upstream(script: Script | None = None) -> AsyncIterator[Upstream]:
    """An engine on a free port of this machine."""
    upstream = Upstream(script or Script())
    runner = web.ServerRunner(web.Server(upstream.handle, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream.port = runner.addresses[0][1]
    try:
        yield upstream
    finally:
        await runner.cleanup()


def event_bytes(script: Script) -> list[bytes]:
    """The events of a streamed answer."""
    if script.raw is not None:
        return [script.raw]
    deltas = [{"content": delta} if isinstance(delta, str) else delta for delta in script.deltas]
    chunks = [_chunk({"role": "assistant", "content": ""}), *map(_chunk, deltas)]
    if script.finish:
        chunks.append(_chunk({}, script.finish))
    if script.usage:
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        chunks.append({**_chunk({}), "choices": [], "usage": usage})
    return [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": {"content": [{"token": "UNSCANNED"}]}}
    body = {"id": "engine-id", "object": "chat.completion.chunk", "created": 1, "model": "engine-model"}
    return {**body, "choices": [choice], "system_fingerprint": "UNSCANNED"}


def answer_bytes(script: Script) -> bytes:
    """A whole answer."""
    said = "".join(delta if isinstance(delta, str) else delta.get("content", "") for delta in script.deltas)
    message = script.message or {"role": "assistant", "content": said}
    choice = {"index": 0, "message": message, "finish_reason": script.finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return orjson.dumps({"id": "engine-id", "object": "chat.completion", "choices": [choice], "usage": usage})


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
