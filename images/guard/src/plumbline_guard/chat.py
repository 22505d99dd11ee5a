"""A chat request: parsed strictly, bounded by the policy, rebuilt from known fields only.

Nothing that the guard does not understand reaches the engine: an unknown field is refused by name (engines take
chat templates, grammars and the like in extra fields), and every string that is passed on is among `texts`, which
inspection.py looks at. Called by server.py; raises Refused with what OpenAI's API would say.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from plumbline_api.policyfile import PolicyFile
from plumbline_guard.errors import Refused
from plumbline_guard.values import strings_in

__all__ = ["ChatRequest", "parse_chat"]

_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_FOR_OPERATORS: Final = frozenset({"system", "developer"})
_MESSAGE_FIELDS: Final = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "reasoning_content"}
)
_MESSAGE_IGNORED: Final = frozenset({"annotations", "audio"})
_PASSED_ON: Final = frozenset(
    {"temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "tools", "tool_choice"}
    | {"parallel_tool_calls", "response_format", "stream_options"}
)
_IGNORED: Final = frozenset({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"})
_HANDLED: Final = frozenset({"model", "messages", "stream", "n", "max_tokens", "max_completion_tokens"})
_NO_PROBABILITIES: Final = frozenset({"logprobs", "top_logprobs"})
_KNOWN: Final = _PASSED_ON | _HANDLED | _IGNORED | _NO_PROBABILITIES


@dataclass(frozen=True)
class ChatRequest:
    """What a client asks, as far as it goes to the engine."""

    texts: tuple[str, ...]
    """Every text the engine will see, but for the policy's own system prompt; and what the user said, in one."""
    size: int
    """Bytes of all those texts, each counted once."""
    stream: bool
    _body: Mapping[str, Any]

    def payload(self, model: str) -> bytes:
        """The body for the engine, which knows the model under this name."""
        return orjson.dumps({**self._body, "model": model})


def parse_chat(raw: bytes, policy: PolicyFile) -> ChatRequest:
    """Parse a request's body and hold it against the policy's limits; raises Refused."""
    body = _json_object(raw)
    _require_model(body.get("model"), policy.model)
    _require_known(body)
    messages = _messages(body.get("messages"), owns_system=policy.system_prompt is not None)
    passed = {name: value for name, value in body.items() if name in _PASSED_ON and value is not None}
    stream = _boolean(body, "stream")
    if not stream:
        passed.pop("stream_options", None)
    texts = _texts(messages, passed)
    size = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    if size > policy.limits.max_prompt_bytes:
        raise Refused(413, "prompt_too_long", f"the prompt exceeds {policy.limits.max_prompt_bytes} bytes; shorten it")
    return ChatRequest(
        texts=(*texts, *_said_in_turns(messages)),
        size=size,
        stream=stream,
        _body={
            **passed,
            "messages": _with_system_prompt(messages, policy.system_prompt),
            "max_tokens": _answer_limit(body, policy.max_tokens),
            "stream": stream,
        },
    )


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "invalid_json", "the body is not valid JSON in UTF-8") from error
    if not isinstance(body, dict):
        raise Refused(400, "invalid_json", "the body must be a JSON object")
    return body


def _require_model(asked: object, served: str) -> None:
    if not isinstance(asked, str) or not asked:
        raise Refused(400, "missing_model", "name a model", param="model")
    if asked != served:
        raise Refused(
            404, "model_not_found", f"this model does not exist here; the one served is {served}", param="model"
        )


def _require_known(body: dict[str, Any]) -> None:
    for name, value in body.items():
        if name in _NO_PROBABILITIES and value:
            raise Refused(400, "unsupported_parameter", f"{name} is not available behind this guard", param=name)
        if value is not None and name not in _KNOWN:
            raise Refused(
                400, "unsupported_parameter", f"unknown parameter {name[:64]!r}; leave it out", param=name[:64]
            )
    choices = body.get("n")
    if choices is not None and (choices != 1 or isinstance(choices, bool)):
        raise Refused(400, "unsupported_value", "n must be 1; send several requests instead", param="n")


def _boolean(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refused(400, "invalid_type", f"{name} must be true or false", param=name)
    return bool(value)


def _answer_limit(body: dict[str, Any], most: int) -> int:
    limits = [most]
    for name in ("max_tokens", "max_completion_tokens"):
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Refused(400, "invalid_value", f"{name} must be an integer of at least 1", param=name)
        limits.append(value)
    return min(limits)


def _messages(messages: object, *, owns_system: bool) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "invalid_messages", "messages must be a list of at least one message", param="messages")
    return [_message(message, f"messages[{index}]", owns_system) for index, message in enumerate(messages)]


def _message(message: object, place: str, owns_system: bool) -> dict[str, Any]:  # noqa: FBT001 - one caller, beside it
    if not isinstance(message, dict):
        raise Refused(400, "invalid_messages", f"{place} must be an object", param=place)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise Refused(400, "invalid_role", f"{place}.role must be one of {', '.join(sorted(_ROLES))}", param=place)
    if owns_system and role in _FOR_OPERATORS:
        why = f"{place}: {role} messages are not accepted here; this model has its own system prompt"
        raise Refused(400, "system_message_not_allowed", why, param=place)
    kept: dict[str, Any] = {}
    for name, value in message.items():
        if name not in _MESSAGE_FIELDS | _MESSAGE_IGNORED and value:
            raise Refused(
                400, "unsupported_parameter", f"{place}: unknown field {name[:64]!r}; leave it out", param=place
            )
        if name in _MESSAGE_FIELDS and value is not None:
            kept[name] = _content(value, place) if name == "content" else value
    return kept


def _content(content: object, place: str) -> str:
    """Content parts become one text, joined as engines join them, so that what is judged is what is read."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Refused(400, "invalid_content", f"{place}.content must be a text or a list of parts", param=place)
    return "\n".join(_part(part, place) for part in content)


def _part(part: object, place: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        kind = part.get("type")
        text = part.get("refusal" if kind == "refusal" else "text")
        if kind in ("text", "refusal") and isinstance(text, str) and len(part) == 2:
            return text
    raise Refused(400, "unsupported_content", f"{place}.content: only text parts are accepted here", param=place)


def _with_system_prompt(messages: list[dict[str, Any]], system_prompt: str | None) -> list[dict[str, Any]]:
    if not system_prompt:
        return messages
    return [{"role": "system", "content": system_prompt}, *messages]


def _texts(messages: list[dict[str, Any]], passed: Mapping[str, Any]) -> list[str]:
    fields = [value for message in messages for name, value in message.items() if name != "role"]
    return [*strings_in(fields), *strings_in(passed)]


def _said_in_turns(messages: list[dict[str, Any]]) -> Iterator[str]:
    """What the user said in several turns, as one text: a demand may be handed over in portions."""
    said = [message["content"] for message in messages if message["role"] == "user" and "content" in message]
    if len(said) > 1:
        yield "\n".join(said)
