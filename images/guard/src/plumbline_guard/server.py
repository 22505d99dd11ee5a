"""The HTTP edge: OpenAI's endpoints over aiohttp, around the pure parts of this package.

Order of a chat request: limits, parsing (chat.py), input rules (inspection.py), engine ready (upstream.py), the
answer and its rules (answer.py). Whatever the guard cannot decide, it refuses. Built by main; another transport would
replace this module, exchange.py and upstream.py, and nothing else.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from plumbline_api.rules import Direction
from plumbline_guard.answer import StreamedAnswer, guard_answer
from plumbline_guard.chat import ChatRequest, parse_chat
from plumbline_guard.decisions import Decision, DecisionLog, Outcome
from plumbline_guard.decoding import TooMuchEncodedError
from plumbline_guard.errors import Failed, Refused
from plumbline_guard.exchange import REQUEST_ID_HEADER, ClientGoneError, Exchange, json_response
from plumbline_guard.metrics import Metrics
from plumbline_guard.policy import Policy
from plumbline_guard.upstream import Engine, read_whole
from plumbline_guard.wording import Wording, error_body

__all__ = ["Clocks", "Guard"]

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_CLOSED: Final = 499
"""What logs say where the client went away; never sent."""

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Clocks:
    """Time and ids, as arguments."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    new_id: Callable[[], str]


@dataclass
class Guard:
    """Answers requests; one per process."""

    policy: Policy
    engine: Engine
    log: DecisionLog
    clocks: Clocks
    metrics: Metrics = field(default_factory=Metrics)
    draining: bool = False
    """Whether the guard is ending, and no new work should be sent to it."""

    def __post_init__(self) -> None:
        self._routes: dict[tuple[str, str], _Handler] = {
            ("POST", "/v1/chat/completions"): self._chat,
            ("GET", "/v1/models"): self._models,
            ("GET", "/healthz"): self._alive,
            ("GET", "/readyz"): self._ready,
            ("GET", "/metrics"): self._metrics,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        handler = self._routes.get((request.method, request.path))
        if handler is None:
            known = ", ".join(f"{method} {path}" for method, path in self._routes)
            error = Refused(404, "not_found", f"there is no such endpoint; this guard has {known}")
            return self._last(json_response(error_body(error), status=404))
        return self._last(await handler(request))

    def _last(self, response: web.StreamResponse) -> web.StreamResponse:
        """The response; of a guard that is ending, the last on its connection."""
        if self.draining and not response.prepared:
            response.force_close()
        return response

    async def look(self) -> bool:
        """Find out whether the engine is ready; a change is logged."""
        before = self.engine.readiness.state
        now = await self.engine.look()
        self.metrics.ready = now.ready and not self.draining
        if now.state is not before:
            self.log.note("engine", self.clocks.wall(), state=now.state.value)
        return now.ready

    async def _alive(self, _request: web.BaseRequest) -> web.StreamResponse:
        return json_response({"status": "alive"})

    async def _ready(self, _request: web.BaseRequest) -> web.StreamResponse:
        ready = await self.look() and not self.draining
        state = "draining" if self.draining else self.engine.readiness.state.value
        return json_response({"ready": ready, "engine": state}, status=200 if ready else 503)

    async def _metrics(self, _request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=self.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _models(self, _request: web.BaseRequest) -> web.StreamResponse:
        file = self.policy.file
        model = {"id": file.model, "object": "model", "created": 0, "owned_by": "plumbline", "digest": file.subject}
        return json_response({"object": "list", "data": [model]})

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        began = self.clocks.monotonic()
        asked_id = request.headers.get(REQUEST_ID_HEADER, "")
        decision = Decision(asked_id if _REQUEST_ID.fullmatch(asked_id) else self.clocks.new_id())
        exchange = Exchange(request, decision.request, lambda: self.draining)
        self.metrics.in_flight += 1
        try:
            return await self._decided(exchange, decision)
        except ClientGoneError:
            decision.outcome, decision.status = Outcome.ABANDONED, _CLIENT_CLOSED
            return web.Response(status=_CLIENT_CLOSED)
        except BaseException:  # a cancelled task: the client went away, or the guard is ending
            decision.outcome, decision.status = Outcome.ABANDONED, _CLIENT_CLOSED
            raise
        finally:
            self.metrics.in_flight -= 1
            decision.answer_bytes = exchange.sent
            decision.seconds = self.clocks.monotonic() - began
            self._record(decision)

    async def _decided(self, exchange: Exchange, decision: Decision) -> web.StreamResponse:
        """Answer, or say why not."""
        error: Refused | Failed
        try:
            return await self._answered(exchange, decision)
        except Refused as refused:
            error = refused
        except Failed as failed:
            error = failed
        except TooMuchEncodedError:
            error = Failed(503, "undecided", "the request holds too much encoded text to be judged")
        except ClientGoneError:
            raise
        except Exception as unforeseen:  # noqa: BLE001 - the outermost loop: a guard that cannot decide refuses
            self.log.note("defect", self.clocks.wall(), request=decision.request, error=type(unforeseen).__name__)
            error = Failed(503, "undecided", "the guard could not decide; the answer is withheld")
        decision.outcome = Outcome.REFUSED if isinstance(error, Refused) else Outcome.FAILED
        decision.status, decision.code = error.status, error.code
        return await exchange.tell(error)

    async def _answered(self, exchange: Exchange, decision: Decision) -> web.StreamResponse:
        file = self.policy.file
        if self.metrics.in_flight > file.limits.concurrency:
            raise Refused(429, "too_many_requests", f"{file.limits.concurrency} requests are at work; try again")
        raw = await exchange.read(file.limits.max_prompt_bytes * 8 + 65536)
        wording = Wording(f"chatcmpl-{decision.request}", int(self.clocks.wall()), file.model, file.refusal)
        with self._timed(decision):
            chat = parse_chat(raw, file)
            decision.stream, decision.prompt_bytes = chat.stream, chat.size
            rule = self.policy.input.broken_rule(chat.texts)
        if rule is not None:
            _block(decision, rule, Direction.INPUT)
            return await _refusal(exchange, wording, rule, stream=chat.stream)
        model = await self.engine.require_ready()
        if chat.stream:
            return await self._streamed(exchange, decision, chat, wording, model)
        return await self._whole(exchange, decision, chat, wording, model)

    async def _whole(
        self, exchange: Exchange, decision: Decision, chat: ChatRequest, wording: Wording, model: str
    ) -> web.StreamResponse:
        async with self.engine.chat(chat.payload(model)) as response:
            raw = await read_whole(response)
        with self._timed(decision):
            answer = guard_answer(raw, self.policy.output, wording)
        if answer.blocked_by is None:
            decision.outcome, decision.status = Outcome.ALLOWED, 200
        else:
            _block(decision, answer.blocked_by, Direction.OUTPUT)
        return exchange.whole(answer.body, blocked_by=answer.blocked_by)

    async def _streamed(
        self, exchange: Exchange, decision: Decision, chat: ChatRequest, wording: Wording, model: str
    ) -> web.StreamResponse:
        answer = StreamedAnswer(self.policy.output, wording)
        try:
            async with self.engine.chat(chat.payload(model)) as response:
                async for piece in response.content.iter_any():
                    with self._timed(decision):
                        out = answer.feed(piece)
                    await exchange.write(out, blocked_by=answer.blocked_by)
                    if answer.over:
                        break
                answer.end()
        finally:
            answer.close()
        if answer.blocked_by is None:
            decision.outcome, decision.status = Outcome.ALLOWED, 200
        else:
            _block(decision, answer.blocked_by, Direction.OUTPUT)
        return await exchange.finish()

    @contextmanager
    def _timed(self, decision: Decision) -> Iterator[None]:
        began = self.clocks.monotonic()
        try:
            yield
        finally:
            decision.guard_seconds += self.clocks.monotonic() - began

    def _record(self, decision: Decision) -> None:
        metrics = self.metrics
        metrics.requests[decision.outcome.value, decision.status] += 1
        if decision.rule is not None and decision.direction is not None:
            metrics.blocks[decision.rule, decision.direction.value] += 1
        if decision.code is not None and decision.code.startswith("upstream_"):
            metrics.upstream_errors[decision.code] += 1
        metrics.request_seconds.observe(decision.seconds)
        metrics.guard_seconds.observe(decision.guard_seconds)
        self.log.write(decision, self.clocks.wall())


def _block(decision: Decision, rule: str, direction: Direction) -> None:
    decision.outcome, decision.status = Outcome.BLOCKED, 200
    decision.rule, decision.direction = rule, direction


async def _refusal(exchange: Exchange, wording: Wording, rule: str, *, stream: bool) -> web.StreamResponse:
    if not stream:
        return exchange.whole(wording.refused_completion(), blocked_by=rule)
    await exchange.write(wording.refused_stream(), blocked_by=rule)
    return await exchange.finish()
