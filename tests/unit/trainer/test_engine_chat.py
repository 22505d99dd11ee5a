"""Requests mean what OpenAI says, and what is not supported is refused by name."""

import json
from typing import Any

import pytest

from plumbline_trainer.engine.chat import RequestRefused, read_request

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}


def read(**options: Any) -> Any:
    return read_request(json.dumps(HELLO | options).encode())


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read(messages=[{"role": "user", "content": parts}]).messages[0].text == "ab"


@pytest.mark.parametrize(
    ("options", "limit"),
    [({}, None), ({"max_tokens": 3}, 3), ({"max_completion_tokens": 4}, 4)],
)
def test_either_name_of_the_limit_counts(options: dict[str, int], limit: int | None) -> None:
    assert read(**options).limit == limit


@pytest.mark.parametrize(("stop", "stops"), [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b"))])
def test_stop_is_one_string_or_several(stop: object, stops: tuple[str, ...]) -> None:
    assert read(stop=stop).stops == stops


@pytest.mark.parametrize(
    "options",
    [{"n": 1}, {"logprobs": False}, {"presence_penalty": 0}, {"user": "me"}, {"response_format": {"type": "text"}}],
)
def test_options_that_ask_for_what_happens_anyway_are_accepted(options: dict[str, Any]) -> None:
    assert read(**options).messages


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": []}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ""}, "stop"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(options: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read(**options)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_request(body)
    assert refused.value.status == 400


def test_different_limits_are_refused() -> None:
    with pytest.raises(RequestRefused, match="max_tokens"):
        read(max_tokens=1, max_completion_tokens=2)


def test_a_refusal_does_not_quote_the_conversation() -> None:
    with pytest.raises(RequestRefused) as refused:
        read(messages=[{"role": "user", "content": "a secret"}, {"role": "nobody", "content": "another secret"}])
    assert "secret" not in str(refused.value)
