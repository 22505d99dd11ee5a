"""What the guard itself says, in OpenAI's forms: completions, chunks, errors, refusals.

Answers are always built anew from these; nothing of the engine's JSON is passed through. Used by answer.py and
server.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from plumbline_guard.errors import Failed, Refused
from plumbline_guard.events import DONE, written

__all__ = ["Wording", "error_body"]


@dataclass(frozen=True)
class Wording:
    """How answers to one request look."""

    id: str
    created: int
    model: str
    refusal: str

    @property
    def call_prefix(self) -> str:
        """What ids of tool calls begin with."""
        return "call_" + self.id.rpartition("-")[2]

    def completion(self, choices: Sequence[Mapping[str, Any]], usage: Mapping[str, Any] | None) -> bytes:
        """A whole answer."""
        body = self._body("chat.completion", choices)
        return orjson.dumps(body if usage is None else {**body, "usage": usage})

    def chunk(self, choices: Sequence[Mapping[str, Any]], usage: Mapping[str, Any] | None = None) -> bytes:
        """One event of a streamed answer."""
        body = self._body("chat.completion.chunk", choices)
        return written(orjson.dumps(body if usage is None else {**body, "usage": usage}))

    def refused_completion(self) -> bytes:
        """The whole answer to a blocked request."""
        message = {"role": "assistant", "content": self.refusal}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return self.completion([{"index": 0, "message": message, "finish_reason": "content_filter"}], usage)

    def refused_stream(self, *, role_sent: bool = False, text_sent: bool = False) -> bytes:
        """The end of a blocked streamed answer: the refusal unless some text was sent already."""
        delta: dict[str, str] = {} if role_sent else {"role": "assistant"}
        if not text_sent:
            delta["content"] = self.refusal
        begin = self.chunk([{"index": 0, "delta": delta, "finish_reason": None}]) if delta else b""
        end = self.chunk([{"index": 0, "delta": {}, "finish_reason": "content_filter"}])
        return begin + end + written(DONE)

    def _body(self, kind: str, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def error_body(error: Refused | Failed) -> bytes:
    """OpenAI's error JSON."""
    fields = {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}
    return orjson.dumps({"error": fields})
