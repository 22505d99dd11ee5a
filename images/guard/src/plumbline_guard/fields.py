"""Reading the engine's JSON: each accessor gives what the field must be, or raises Failed.

Used by answer.py and texts.py. What a field does not hold in OpenAI's API, it does not hold here.
"""

from typing import Any, Final

import orjson

from plumbline_guard.errors import Failed

__all__ = ["finish_reason", "index_of", "json_object", "object_in", "objects_in", "senseless", "usage_in"]

_FINISHES: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_USAGE: Final = ("prompt_tokens", "completion_tokens", "total_tokens")


def senseless(what: str) -> Failed:
    """The failure to raise for an answer that is not what it must be."""
    return Failed(502, "upstream_invalid", f"the engine sent {what}")


def json_object(raw: bytes) -> dict[str, Any]:
    """An object from JSON text."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise senseless("something that is not JSON") from error
    if not isinstance(body, dict):
        raise senseless("JSON that is no object")
    return body


def objects_in(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects; an absent one is empty."""
    values = body.get(name)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise senseless(f"{name} that is no list of objects")
    return values


def object_in(body: dict[str, Any], name: str) -> dict[str, Any]:
    """An object; an absent one is empty."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise senseless(f"{name} that is no object")
    return value


def index_of(body: dict[str, Any]) -> int:
    """The place in a list that this object says it has."""
    index = body.get("index", 0)
    if not isinstance(index, int) or not 0 <= index < 1024:
        raise senseless("an index that is none")
    return int(index)


def finish_reason(choice: dict[str, Any]) -> str | None:
    """Why a choice ended; None while it goes on."""
    reason = choice.get("finish_reason")
    if reason is None:
        return None
    return reason if reason in _FINISHES else "stop"


def usage_in(body: dict[str, Any]) -> dict[str, int] | None:
    """The token counts."""
    if not body.get("usage"):
        return None
    usage = object_in(body, "usage")
    return {name: int(usage[name]) for name in _USAGE if isinstance(usage.get(name), int)} or None
