"""What was decided about each chat request: one record, one JSON line, never any content.

server.py fills the record; main chooses where lines go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

import orjson

from plumbline_api.rules import Direction

__all__ = ["Decision", "DecisionLog", "Outcome"]


class Outcome(StrEnum):
    """How a chat request ended."""

    ALLOWED = "allowed"
    BLOCKED = "blocked"
    REFUSED = "refused"
    """The request was not acceptable; nothing was judged."""
    FAILED = "failed"
    """No answer, or not a whole one."""
    ABANDONED = "abandoned"
    """The client went away."""


@dataclass
class Decision:
    """The record of one request, filled while it is served."""

    request: str
    outcome: Outcome = Outcome.FAILED
    status: int = 500
    code: str | None = None
    """The error's code."""
    rule: str | None = None
    direction: Direction | None = None
    stream: bool = False
    prompt_bytes: int = 0
    answer_bytes: int = 0
    guard_seconds: float = 0.0
    seconds: float = 0.0


class DecisionLog:
    """Writes decisions as JSON lines."""

    def __init__(self, sink: TextIO) -> None:
        self._sink = sink

    def write(self, decision: Decision, now: float) -> None:
        """One line."""
        fields = {
            "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
            "event": "chat",
            "request": decision.request,
            "decision": decision.outcome.value,
            "status": decision.status,
            "code": decision.code,
            "rule": decision.rule,
            "direction": decision.direction and decision.direction.value,
            "stream": decision.stream,
            "promptBytes": decision.prompt_bytes,
            "answerBytes": decision.answer_bytes,
            "guardMs": round(decision.guard_seconds * 1000, 3),
            "ms": round(decision.seconds * 1000, 3),
        }
        self._line(fields)

    def note(self, event: str, now: float, **fields: str | int | None) -> None:
        """Something else that happened to the guard."""
        stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        self._line({"time": stamp, "event": event, **fields})

    def _line(self, fields: Mapping[str, object]) -> None:
        self._sink.write(orjson.dumps({name: value for name, value in fields.items() if value is not None}).decode())
        self._sink.write("\n")
        self._sink.flush()
