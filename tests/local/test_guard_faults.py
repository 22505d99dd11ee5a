"""When something is wrong: nothing incomplete looks complete, and what cannot be judged is refused."""

import asyncio
import json

import pytest

from tests.support.guards import (
    guarded,
    never,
    policy_file,
    running_guard,
)
from tests.support.upstream import Script

pytestmark = pytest.mark.local


@pytest.mark.parametrize(
    "script",
    [
        Script(deltas=("one ", "two ", "three"), dies_after=2),
        Script(deltas=("one ", "two ", "three"), ends_after=2),
        Script(raw=b'data: {"choices": [{"index": 0, "delta": {"content": "one "}}]}\n\ndata: {"choices": [{"ind'),
    ],
)
async def test_a_stream_that_breaks_off_never_looks_complete(script: Script) -> None:
    async with guarded(script) as (guard, _):
        events, _ = await guard.stream()
        assert events[-1]["error"]["code"] == "upstream_closed"
        assert "[DONE]" not in events


@pytest.mark.parametrize(
    "event",
    [
        b"data: nonsense\n\n",
        b'data: {"choices": [{"delta": {"content": 7}}]}\n\n',
        b'data: {"choices": "x"}\n\n',
        b'data: {"error": {"message": "SECRET"}}\n\n',
        b'data: {"choices": [{"index": -1}]}\n\n',
        b"data: " + b"x" * 1_100_000,
    ],
)
async def test_a_stream_that_makes_no_sense_is_an_error(event: bytes) -> None:
    async with guarded(Script(raw=event)) as (guard, _):
        status, raw, _ = await guard.send(guard.body(stream=True))
        assert (status, json.loads(raw)["error"]["type"]) == (502, "server_error")
        assert b"SECRET" not in raw


async def test_text_after_the_end_of_a_choice_is_an_error() -> None:
    def event(text: str, finish: str | None) -> bytes:
        chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    async with guarded(Script(raw=event("canary", "stop") + event(" one two", None))) as (guard, _):
        _, raw, _ = await guard.send(guard.body(stream=True))
        assert b"[DONE]" not in raw


@pytest.mark.parametrize("raw", [b"nonsense", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 1}}]}'])
async def test_an_answer_that_makes_no_sense_is_an_error(raw: bytes) -> None:
    async with guarded(Script(raw=raw)) as (guard, _):
        assert (await guard.ask())[0] == 502


@pytest.mark.parametrize(("status", "told"), [(500, 502), (503, 503), (429, 429), (400, 400), (404, 502)])
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_of_the_engine_are_told_without_its_words(status: int, told: int, *, stream: bool) -> None:
    async with guarded(Script(status=status)) as (guard, _):
        seen, raw, _ = await guard.send(guard.body(stream=stream))
        assert seen == told
        assert b"SECRET" not in raw
        if status == 400:
            assert json.loads(raw)["error"]["code"] == "context_length_exceeded"


async def test_an_engine_that_is_away_is_a_502() -> None:
    async with running_guard(policy_file(), "http://127.0.0.1:9") as guard:
        status, answer, _ = await guard.ask()
        assert (status, answer["error"]["code"]) == (502, "upstream_unreachable")
        assert (await guard.get("/readyz"))[0] == 503


async def test_an_engine_that_broke_off_is_looked_at_again_before_it_is_asked() -> None:
    async with guarded(Script(deltas=("a", "b"), dies_after=1)) as (guard, upstream):
        assert (await guard.stream())[0][-1]["error"]["code"] == "upstream_closed"
        upstream.digest = "sha256:" + "2" * 64
        assert (await guard.ask())[1]["error"]["code"] == "wrong_model"
        assert len(upstream.asked) == 1


async def test_an_engine_too_busy_to_be_looked_at_is_asked_but_gets_no_new_clients() -> None:
    async with guarded() as (guard, upstream):
        assert (await guard.ask())[0] == 200
        upstream.silent = True
        status, body = await guard.get("/readyz")
        assert (status, json.loads(body)["engine"]) == (503, "silent")
        assert (await guard.ask())[0] == 200


async def test_an_engine_with_another_model_is_never_asked() -> None:
    async with guarded() as (guard, upstream):
        upstream.digest = "sha256:" + "2" * 64
        status, answer, _ = await guard.ask()
        assert (status, answer["error"]["code"]) == (503, "wrong_model")
        assert upstream.asked == []


OTHER = "sha256:" + "2" * 64


async def test_an_engine_that_knows_no_digests_serves_the_model_under_its_digest() -> None:
    async with guarded() as (guard, upstream):
        upstream.listed = ({"id": policy_file().subject, "object": "model", "root": "/plumbline/model"},)
        assert (await guard.ask())[0] == 200
        assert upstream.asked[-1]["model"] == policy_file().subject


@pytest.mark.parametrize(
    "listed",
    [
        ({"id": OTHER},),
        ({"id": "model"},),
        ({"id": policy_file().subject}, {"id": OTHER}),
        ({"id": policy_file().subject, "digest": None},),
        ({"id": policy_file().subject, "digest": OTHER},),
        ({"digest": OTHER},),
    ],
    ids=[
        "another digest",
        "a plain name",
        "one more",
        "no digest after all",
        "another digest than its name",
        "no name",
    ],
)
async def test_an_engine_that_lists_anything_else_is_never_asked(listed: tuple[dict[str, object], ...]) -> None:
    async with guarded() as (guard, upstream):
        upstream.listed = listed
        status, answer, _ = await guard.ask()
        assert (status, answer["error"]["code"], upstream.asked) == (503, "wrong_model", [])


async def test_readiness_follows_the_engine() -> None:
    async with guarded() as (guard, upstream):
        assert (await guard.get("/readyz"))[0] == 200
        upstream.healthy = False
        assert (await guard.get("/readyz"))[0] == 503
        upstream.healthy, upstream.digest = True, "sha256:" + "2" * 64
        status, body = await guard.get("/readyz")
        assert (status, json.loads(body)["engine"]) == (503, "other_model")
        upstream.digest = policy_file().subject
        assert (await guard.get("/readyz"))[0] == 200
        guard.guard.draining = True
        assert (await guard.get("/readyz"))[0] == 503
        assert (await guard.get("/healthz"))[0] == 200


async def test_a_guard_that_cannot_decide_refuses() -> None:
    rules = [never(pattern="x.*y", rule_id="endless")]
    async with guarded(Script(deltas=("x" * 70_000,)), rules) as (guard, _):
        assert (await guard.ask())[0] == 503
        status, raw, _ = await guard.send(guard.body(stream=True))
        assert (status, json.loads(raw)["error"]["code"]) == (503, "undecided")


async def test_a_client_that_leaves_ends_the_engines_work() -> None:
    async with guarded(Script(deltas=("word ",) * 100, pause=0.02)) as (guard, upstream):
        response = await guard.session.post(f"{guard.url}/v1/chat/completions", json=guard.body(stream=True))
        await response.content.readany()
        response.close()
        for _ in range(100):
            await asyncio.sleep(0.02)
            if upstream.broken_off and guard.decisions:
                break
        assert upstream.broken_off == 1
        assert guard.decisions[0]["decision"] == "abandoned"
        assert guard.guard.metrics.in_flight == 0
