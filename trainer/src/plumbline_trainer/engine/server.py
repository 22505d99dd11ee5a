"""The HTTP side: OpenAI's chat completions over aiohttp, health and the model list.

`main` builds it with `make_app`. It turns requests into orders, waits for their pieces and formats them; computing
is left to `scheduler` on its own thread. Streaming and whole answers take the same path.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from plumbline_trainer.engine.chat import ChatRequest, Message, RequestRefused, read_request
from plumbline_trainer.engine.orders import EngineStopped, Finish, Order, Piece, QueueFull, Sampling, Ticket
from plumbline_trainer.engine.replies import DONE, Reply, error_body, event, model_list
from plumbline_trainer.engine.scheduler import Scheduler

__all__ = ["Ready", "Service", "make_app"]

MAX_BODY_BYTES = 17 * 1024 * 1024
"""A little more than the longest prompt a guard may be told to let through."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Ready:
    """What serving needs, once the model is loaded."""

    scheduler: Scheduler
    prompt: Callable[[list[Message]], tuple[int, ...]]
    context: int


@dataclass
class Service:
    """The one model behind this server, and what is going on."""

    name: str
    digest: str
    max_tokens: int
    clock: Callable[[], float]
    entropy: Callable[[], int]
    """63 random bits; for ids, and for seeds that a client does not give."""
    ready: Ready | None = None
    """Set when the model is loaded."""
    ending: bool = False
    """Nothing new is accepted."""
    open_answers: set[Ticket] = field(default_factory=set)


SERVICE = web.AppKey("service", Service)


def make_app(service: Service) -> web.Application:
    """The web application around a service."""
    app = web.Application(middlewares=[_tell_errors], client_max_size=MAX_BODY_BYTES)
    app[SERVICE] = service
    app.router.add_get("/health", _health)
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/chat/completions", _chat)
    return app


@web.middleware
async def _tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error in OpenAI's form."""
    try:
        return await handler(request)
    except RequestRefused as refused:
        error = refused
    except web.HTTPRequestEntityTooLarge:
        error = RequestRefused(413, f"the request is larger than {MAX_BODY_BYTES} bytes", code="request_too_large")
    except web.HTTPError as http:
        known = "GET /health, GET /v1/models, POST /v1/chat/completions"
        error = RequestRefused(http.status, f"{request.method} {request.path}: {http.reason}; this engine has {known}")
    headers = {"Retry-After": "1"} if error.status in (429, 503) else None
    return web.json_response(error_body(error), status=error.status, headers=headers)


async def _health(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    state = "ending" if service.ending else "loading" if service.ready is None else "ready"
    running, waiting = service.ready.scheduler.load if service.ready else (0, 0)
    body = {"status": state, "model": service.name, "digest": service.digest, "running": running, "waiting": waiting}
    return web.json_response(body, status=200 if state == "ready" else 503)


async def _models(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    ready = _require_ready(service)
    return web.json_response(model_list(service.name, service.digest, int(service.clock()), ready.context))


async def _chat(request: web.Request) -> web.StreamResponse:
    service = request.app[SERVICE]
    ready = _require_ready(service)
    asked = read_request(await request.read())
    if asked.model not in (None, service.name):
        raise RequestRefused(
            404, f"model: this engine serves {service.name} only", code="model_not_found", param="model"
        )
    order = _make_order(asked, service, ready)
    reply = Reply(f"chatcmpl-{service.entropy():016x}", int(service.clock()), service.name, len(order.prompt))
    async with _pieces(service, ready.scheduler, order) as pieces:
        if not order.stream:
            return web.json_response(reply.completion(*await _whole(pieces)))
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        return await _stream(request, pieces, reply, usage=usage)


def _require_ready(service: Service) -> Ready:
    if service.ending:
        raise RequestRefused(503, "the engine is ending", code="engine_ending")
    if service.ready is None:
        raise RequestRefused(503, "the model is being loaded; GET /health answers 200 when it is", code="model_loading")
    return service.ready


def _make_order(asked: ChatRequest, service: Service, ready: Ready) -> Order:
    if asked.limit is not None and asked.limit > service.max_tokens:
        raise RequestRefused(
            400,
            f"max_tokens: {asked.limit} is more than this engine's limit of {service.max_tokens}",
            param="max_tokens",
        )
    prompt = ready.prompt(asked.messages)
    if len(prompt) >= ready.context:
        raise RequestRefused(
            400,
            f"messages: {len(prompt)} tokens leave no room for an answer in the model's context of {ready.context}; "
            "shorten the conversation",
            code="context_length_exceeded",
            param="messages",
        )
    return Order(
        prompt=prompt,
        max_tokens=min(asked.limit or service.max_tokens, ready.context - len(prompt)),
        sampling=_sampling(asked, service),
        stop=asked.stops,
        stream=bool(asked.stream),
    )


def _sampling(asked: ChatRequest, service: Service) -> Sampling:
    """OpenAI's defaults: temperature 1, top_p 1."""
    return Sampling(
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        seed=service.entropy() if asked.seed is None else asked.seed,
    )


@asynccontextmanager
async def _pieces(service: Service, scheduler: Scheduler, order: Order) -> AsyncIterator[AsyncIterator[Piece]]:
    """The pieces of one answer. Leaving early, as a cancelled request does, frees its row."""
    loop = asyncio.get_running_loop()
    outbox: asyncio.Queue[Piece] = asyncio.Queue()

    def deliver(piece: Piece) -> None:
        loop.call_soon_threadsafe(outbox.put_nowait, piece)

    ticket = Ticket(order, deliver)
    try:
        scheduler.submit(ticket)
    except QueueFull:
        raise RequestRefused(429, "too many requests are waiting; try again", code="queue_full") from None
    except EngineStopped:
        raise RequestRefused(503, "the engine is ending", code="engine_ending") from None
    service.open_answers.add(ticket)
    try:
        yield _until_last(outbox)
    finally:
        ticket.cancel()
        service.open_answers.discard(ticket)


async def _until_last(outbox: asyncio.Queue[Piece]) -> AsyncIterator[Piece]:
    while True:
        piece = await outbox.get()
        if piece.failed:
            raise RequestRefused(500, "the model failed while it computed this answer", code="model_failed")
        yield piece
        if piece.last:
            return


async def _whole(pieces: AsyncIterator[Piece]) -> tuple[str, Finish, int]:
    text, last = "", Piece()
    async for piece in pieces:
        text += piece.text
        last = piece
    return text, last.finish or Finish.STOP, last.tokens


async def _stream(
    request: web.Request, pieces: AsyncIterator[Piece], reply: Reply, *, usage: bool
) -> web.StreamResponse:
    headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(event(reply.chunk({"role": "assistant", "content": ""})))
    last = Piece()
    try:
        async for piece in pieces:
            last = piece
            if piece.text:
                await response.write(event(reply.chunk({"content": piece.text})))
    except RequestRefused as failed:
        # The status line is out; an error event and a missing [DONE] are what is left to tell it with.
        await response.write(event(error_body(failed)))
        return response
    await response.write(event(reply.chunk({}, last.finish)))
    if usage:
        await response.write(event(reply.usage_chunk(last.tokens)))
    await response.write(DONE)
    return response
