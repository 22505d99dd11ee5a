"""The HTTP side over a decoder that needs no model: forms, errors, limits, disconnects."""

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from plumbline_trainer.engine.scheduler import Scheduler
from plumbline_trainer.engine.server import Ready, Service, make_app
from tests.support.scripted_decoding import END, ScriptedDecoding, byte_tokenizer, script

DIGEST = "sha256:" + "a" * 64


class Bench:
    """One server with its decoding thread."""

    def __init__(self, *, max_queue: int = 100) -> None:
        counter = itertools.count(1)
        self.service = Service("model", DIGEST, max_tokens=50, clock=lambda: 1000.0, entropy=lambda: next(counter))
        self.decoding = ScriptedDecoding()
        self.scheduler = Scheduler(self.decoding, byte_tokenizer(), frozenset({END}), max_batch=2, max_queue=max_queue)
        self.thread = threading.Thread(target=self.scheduler.run)

    def load(self) -> None:
        self.service.ready = Ready(self.scheduler, lambda messages: script(messages[-1].text), context=300)


@asynccontextmanager
async def serving(bench: Bench) -> AsyncIterator[TestClient[Any, Any]]:
    bench.thread.start()
    server = TestServer(make_app(bench.service), handler_cancellation=True)
    async with TestClient(server) as client:
        yield client
    bench.decoding.gate.set()
    bench.scheduler.stop()
    await asyncio.to_thread(bench.thread.join, 5)
    assert not bench.thread.is_alive()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for two seconds at most."""
    for _ in range(200):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never held")


def chat(text: str, **options: Any) -> dict[str, Any]:
    return {"model": "model", "messages": [{"role": "user", "content": text}], **options}


async def test_health_is_503_until_the_model_is_loaded() -> None:
    bench = Bench()
    async with serving(bench) as client:
        before = await client.get("/health")
        refused = await client.post("/v1/chat/completions", json=chat("hi"))
        bench.load()
        after = await client.get("/health")
        assert (before.status, refused.status, after.status) == (503, 503, 200)
        assert (await after.json())["digest"] == DIGEST
        bench.service.ending = True
        assert (await client.get("/health")).status == 503


async def test_the_model_list_names_the_digest() -> None:
    bench = Bench()
    bench.load()
    async with serving(bench) as client:
        (model,) = (await (await client.get("/v1/models")).json())["data"]
        assert (model["id"], model["digest"]) == ("model", DIGEST)


async def test_a_completion_has_openais_form() -> None:
    bench = Bench()
    bench.load()
    async with serving(bench) as client:
        reply = await (await client.post("/v1/chat/completions", json=chat("hello"))).json()
        assert reply["object"] == "chat.completion"
        assert reply["choices"][0]["message"]["content"] == "hello"
        assert reply["choices"][0]["finish_reason"] == "stop"
        assert reply["usage"] == {"prompt_tokens": 6, "completion_tokens": 6, "total_tokens": 12}


async def test_a_stream_ends_with_a_reason_the_counts_and_done() -> None:
    bench = Bench()
    bench.load()
    async with serving(bench) as client:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        response = await client.post("/v1/chat/completions", json=chat("日本語!", **options))
        *events, done, end = (await response.text()).split("\n\n")
        assert (done, end) == ("data: [DONE]", "")
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert [c["choices"][0]["delta"].get("content") for c in chunks[1:-2]] == ["日", "本", "語", "!"]
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
        assert chunks[-1]["usage"]["completion_tokens"] == 11
        assert len({chunk["id"] for chunk in chunks}) == 1


async def test_errors_have_openais_form_and_status() -> None:
    bench = Bench()
    bench.load()
    async with serving(bench) as client:
        cases = [
            (client.post("/v1/chat/completions", data=b"no json"), 400, "invalid_request"),
            (client.post("/v1/chat/completions", json=chat("x", model="other")), 404, "model_not_found"),
            (client.post("/v1/chat/completions", json=chat("x", max_tokens=51)), 400, None),
            (client.post("/v1/chat/completions", json=chat("x" * 300)), 400, "context_length_exceeded"),
            (client.get("/v1/nothing"), 404, None),
            (client.get("/v1/chat/completions"), 405, None),
        ]
        for call, status, code in cases:
            response = await call
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (status, code), error
            assert set(error) == {"message", "type", "param", "code"}


async def test_an_answer_never_leaves_the_context() -> None:
    bench = Bench()
    bench.load()
    async with serving(bench) as client:
        reply = await (await client.post("/v1/chat/completions", json=chat("x" * 290, max_tokens=50))).json()
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["usage"]["total_tokens"] == 300


async def test_more_than_the_queue_holds_is_429() -> None:
    bench = Bench(max_queue=1)
    bench.load()
    bench.decoding.gate.clear()
    async with serving(bench) as client:
        calls = [asyncio.create_task(client.post("/v1/chat/completions", json=chat("hello"))) for _ in range(8)]
        done, waiting = await asyncio.wait(calls, timeout=0.5)
        assert {call.result().status for call in done} == {429}
        assert all(call.result().headers["Retry-After"] for call in done)
        bench.decoding.gate.set()
        assert {(await call).status for call in waiting} == {200}


async def test_a_client_that_leaves_frees_its_row() -> None:
    bench = Bench()
    bench.load()
    bench.decoding.gate.clear()
    async with serving(bench) as client:
        for stream in (False, True):
            call = asyncio.create_task(client.post("/v1/chat/completions", json=chat("hello" * 9, stream=stream)))
            await until(lambda: bool(bench.service.open_answers))
            if stream:
                (await call).close()
            else:
                call.cancel()
            await until(lambda: not bench.service.open_answers)
        bench.decoding.gate.set()
        reply = await client.post("/v1/chat/completions", json=chat("next"))
        assert reply.status == 200


async def test_a_failing_model_answers_500_and_streams_an_error_without_done() -> None:
    bench = Bench()
    bench.load()
    bench.decoding.gate.clear()
    bench.thread = threading.Thread(target=_run_to_failure, args=[bench.scheduler])
    async with serving(bench) as client:
        whole = asyncio.create_task(client.post("/v1/chat/completions", json=chat("hello")))
        streamed = await client.post("/v1/chat/completions", json=chat("hello", stream=True))
        await asyncio.sleep(0.1)
        bench.decoding.broken = True
        bench.decoding.gate.set()
        assert (await whole).status == 500
        text = await streamed.text()
        assert "model_failed" in text
        assert "[DONE]" not in text
        assert (await client.post("/v1/chat/completions", json=chat("again"))).status == 503


def _run_to_failure(scheduler: Scheduler) -> None:
    try:
        scheduler.run()
    except RuntimeError:
        return
