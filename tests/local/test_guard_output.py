"""What may not come out: judged in every field, and in streams however they are cut."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.guards import (
    REFUSAL,
    RULES,
    finishes,
    guarded,
    on_output,
    said,
)
from tests.support.upstream import Script

pytestmark = pytest.mark.local


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "here is Detonator  WIRING for you"},
        {"role": "assistant", "content": None, "reasoning_content": "so detonator wiring"},
        {"role": "assistant", "content": "x", "refusal": "no detonator wiring"},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "detonator wiring"}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "detonator wiring", "arguments": ""}}]},
        {"role": "assistant", "content": "deto\u200bnаtor wirіng"},
    ],
)
async def test_a_forbidden_answer_is_replaced_wherever_it_says_it(message: dict[str, Any]) -> None:
    async with guarded(Script(message=message)) as (guard, _):
        status, answer, headers = await guard.ask()
        assert (status, headers["x-plumbline-blocked"]) == (200, "recipe")
        assert answer["choices"][0]["message"]["content"] == REFUSAL
        assert "wiring" not in json.dumps(answer)


async def test_an_engine_that_gives_several_choices_gets_each_judged() -> None:
    good, bad = ({"index": i, "message": {"content": text}} for i, text in enumerate(["fine", "detonator wiring"]))
    async with guarded(Script(raw=json.dumps({"choices": [good, bad]}).encode())) as (guard, _):
        assert (await guard.ask())[2]["x-plumbline-blocked"] == "recipe"


async def test_an_allowed_answer_is_built_anew_and_says_the_same() -> None:
    call = {"id": "call-id", "type": "function", "function": {"name": "add", "arguments": '{"task": "milk"}'}}
    message = {"role": "assistant", "content": "Täsk ✓", "tool_calls": [call], "other": "UNSCANNED"}
    async with guarded(Script(message=message, finish="tool_calls")) as (guard, _):
        _, answer, headers = await guard.ask()
        told = answer["choices"][0]["message"]
        assert (told["content"], told["tool_calls"][0]["function"]) == ("Täsk ✓", call["function"])
        assert answer["choices"][0]["finish_reason"] == "tool_calls"
        assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        assert (answer["model"], "x-plumbline-blocked" in headers) == ("task-assistant", False)
        assert "UNSCANNED" not in json.dumps(answer)


@pytest.mark.parametrize("piece", [None, 1, 7])
async def test_an_allowed_stream_arrives_whole_however_its_bytes_are_cut(piece: int | None) -> None:
    deltas = ("Grüße, ", "日本", "語 😀 ", "ass", "isting", " sk-", "ip", " can", "ary")
    script = Script(deltas=deltas, piece=piece, usage=True)
    async with guarded(script, (*RULES, on_output(pattern=r"\bass\b", rule_id="rude"))) as (guard, _):
        events, headers = await guard.stream(stream_options={"include_usage": True})
        assert (said(events), finishes(events), events[-1]) == ("".join(deltas), ["stop"], "[DONE]")
        assert "UNSCANNED" not in json.dumps(events)
        assert headers["Content-Type"].startswith("text/event-stream")
        assert [event["usage"]["total_tokens"] for event in events[:-1] if "usage" in event] == [5]


SECRET = "The key is sk-abcd12345678. Done."


@pytest.mark.parametrize("place", range(len(SECRET) + 1))
async def test_a_value_split_at_any_place_never_begins_to_get_out(place: int) -> None:
    async with guarded(Script(deltas=(SECRET[:place], SECRET[place:]))) as (guard, _):
        events, _ = await guard.stream()
        assert "sk-" not in said(events)
        assert (finishes(events), events[-1]) == (["content_filter"], "[DONE]")


async def test_a_stream_blocked_before_it_said_anything_is_a_refusal() -> None:
    async with guarded(Script(deltas=("canary ", "one two", " three"))) as (guard, _):
        events, headers = await guard.stream()
        assert (said(events), finishes(events), events[-1]) == (REFUSAL, ["content_filter"], "[DONE]")
        assert headers["x-plumbline-blocked"] == "canary"


async def test_a_stream_blocked_later_ends_without_the_forbidden_words() -> None:
    async with guarded(Script(deltas=("Take this: ", "detonator ", "wiring", " goes"), pause=0.02)) as (
        guard,
        upstream,
    ):
        events, _ = await guard.stream()
        assert (said(events), finishes(events), events[-1]) == ("Take this: detonator ", ["content_filter"], "[DONE]")
        await asyncio.sleep(0.1)
        assert upstream.broken_off == 1


async def test_arguments_of_streamed_tool_calls_are_judged() -> None:
    def call(text: str, **more: Any) -> dict[str, Any]:
        return {"tool_calls": [{"index": 0, "function": {"arguments": text}, **more}]}

    deltas = (call('{"k": "', id="c", type="function"), call("sk-ab"), call("cd12345678"), call('"}'))
    async with guarded(Script(deltas=deltas)) as (guard, _):
        events, _ = await guard.stream()
        assert "sk-ab" not in json.dumps(events)
        assert (finishes(events), events[-1]) == (["content_filter"], "[DONE]")


async def test_a_held_end_is_sent_when_the_answer_turns_out_harmless() -> None:
    async with guarded(Script(deltas=("It can", "ary one", ""))) as (guard, _):
        events, _ = await guard.stream()
        assert (said(events), finishes(events)) == ("It canary one", ["stop"])
