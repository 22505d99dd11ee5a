"""Around the rules: logs, metrics, endpoints, and the clients people use."""

import asyncio
import json
import shutil
from typing import Any

import openai
import pytest

from tests.support.guards import (
    DEMAND,
    REFUSAL,
    events_of,
    guarded,
    said,
)
from tests.support.upstream import Script

pytestmark = pytest.mark.local


async def test_logs_tell_decisions_and_never_content() -> None:
    async with guarded(Script(deltas=("PRIVATE answer",))) as (guard, _):
        await guard.ask("PRIVATE question")
        await guard.ask(f"PRIVATE {DEMAND}", stream=False)
        await guard.ask("x", n=3)
        told = [(each["request"], each["decision"], each["status"], each.get("rule")) for each in guard.decisions]
        assert told == [
            ("request-1", "allowed", 200, None),
            ("request-2", "blocked", 200, "injection"),
            ("request-3", "refused", 400, None),
        ]
        assert guard.decisions[1]["direction"] == "Input"
        assert guard.decisions[0]["promptBytes"] == len("PRIVATE question")
        assert "PRIVATE" not in guard.log.getvalue()


async def test_metrics_count_requests_blocks_and_errors() -> None:
    async with guarded() as (guard, upstream):
        await guard.ask()
        await guard.ask(DEMAND)
        upstream.script = Script(deltas=("detonator wiring",))
        await guard.stream()
        upstream.script = Script(status=500)
        await guard.ask()
        _, text = await guard.get("/metrics")
        for line in (
            'plumbline_guard_requests_total{decision="allowed",status="200"} 1',
            'plumbline_guard_blocks_total{rule="injection",direction="Input"} 1',
            'plumbline_guard_blocks_total{rule="recipe",direction="Output"} 1',
            'plumbline_guard_upstream_errors_total{code="upstream_error"} 1',
            "plumbline_guard_in_flight 0",
            'plumbline_guard_request_seconds_bucket{le="+Inf"} 4',
        ):
            assert line in text.splitlines()


@pytest.mark.parametrize("path", ["/", "/v1/completions", "/v1/embeddings", "/v1/chat/completions", "/v1/models/x"])
async def test_everything_else_is_not_there(path: str) -> None:
    async with guarded() as (guard, _):
        status, body = await guard.get(path)
        assert (status, json.loads(body)["error"]["code"]) == (404, "not_found")


async def test_the_openai_client_works() -> None:
    async with guarded(Script(deltas=("Task ", "created: milk."))) as (guard, upstream):
        async with openai.AsyncOpenAI(base_url=f"{guard.url}/v1", api_key="none", max_retries=0) as client:
            assert [model.id async for model in client.models.list()] == ["task-assistant"]
            ask: Any = {"model": "task-assistant", "messages": [{"role": "user", "content": "buy milk"}]}
            whole = await client.chat.completions.create(**ask)
            assert whole.choices[0].message.content == "Task created: milk."
            chunks = [chunk async for chunk in await client.chat.completions.create(stream=True, **ask)]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Task created: milk."
            again = [*ask["messages"], whole.choices[0].message.model_dump(), {"role": "user", "content": DEMAND}]
            blocked = await client.chat.completions.create(model="task-assistant", messages=again)
            assert (blocked.choices[0].message.content, blocked.choices[0].finish_reason) == (REFUSAL, "content_filter")
            with pytest.raises(openai.NotFoundError, match="task-assistant"):
                await client.chat.completions.create(**{**ask, "model": "gpt-4"})
            upstream.script = Script(deltas=("a ", "b"), dies_after=2)
            with pytest.raises(openai.APIError, match="broke off"):
                _ = [chunk async for chunk in await client.chat.completions.create(stream=True, **ask)]


async def test_plain_http_works() -> None:
    """With curl where there is one; the client of the tests says the same where there is none."""
    async with guarded(Script(deltas=("Task ", "created."))) as (guard, _):
        url, body = f"{guard.url}/v1/chat/completions", json.dumps(guard.body("buy milk", stream=True))
        if curl := shutil.which("curl"):
            arguments = [curl, "-sS", "--noproxy", "*", "-N", url, "-H", "Content-Type: application/json", "-d", body]
            child = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
            raw, _ = await child.communicate()
        else:
            _, raw, _ = await guard.send(body.encode())
        assert (said(events_of(raw)), events_of(raw)[-1]) == ("Task created.", "[DONE]")
