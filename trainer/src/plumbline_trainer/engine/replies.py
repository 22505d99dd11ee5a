"""The form of OpenAI's answers: completions, stream chunks, models and errors, as JSON-ready data.

Used by `server` alone.
"""

import json
from dataclasses import dataclass
from typing import Any

from plumbline_trainer.engine.chat import RequestRefused
from plumbline_trainer.engine.orders import Finish

__all__ = ["DONE", "Reply", "error_body", "event", "model_list"]

DONE = b"data: [DONE]\n\n"
_TYPES = {429: "rate_limit_error", 404: "not_found_error"}


@dataclass(frozen=True)
class Reply:
    """What all parts of one answer have in common."""

    id: str
    created: int
    model: str
    prompt_tokens: int

    def completion(self, text: str, finish: Finish, tokens: int) -> dict[str, Any]:
        """The whole answer."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish.value}
        return self._head("chat.completion") | {"choices": [choice], "usage": self.usage(tokens)}

    def chunk(self, delta: dict[str, str], finish: Finish | None = None) -> dict[str, Any]:
        """One event of a stream."""
        reason = None if finish is None else finish.value
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def usage_chunk(self, tokens: int) -> dict[str, Any]:
        """The event that carries the counts, after the last one with text."""
        return self._head("chat.completion.chunk") | {"choices": [], "usage": self.usage(tokens)}

    def usage(self, tokens: int) -> dict[str, int]:
        """Token counts; the end-of-answer token counts as one."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self.prompt_tokens + tokens,
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def event(data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def model_list(name: str, digest: str, created: int, context: int) -> dict[str, Any]:
    """The one model that is served."""
    model = {"id": name, "object": "model", "created": created, "owned_by": "plumbline"}
    return {"object": "list", "data": [model | {"digest": digest, "context": context}]}


def error_body(refused: RequestRefused) -> dict[str, Any]:
    """OpenAI's error object."""
    kind = _TYPES.get(refused.status, "server_error" if refused.status >= 500 else "invalid_request_error")
    return {"error": {"message": str(refused), "type": kind, "param": refused.param, "code": refused.code}}
