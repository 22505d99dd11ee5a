"""Judging what comes out: whole answers and streamed ones, by the same scanners.

Pure: bytes of the engine in, bytes for the client out. An answer is taken apart into known fields, each text is
scanned (texts.py), and a new answer is built (wording.py); whatever the guard does not know is left out, so no
unscanned byte is sent. Called by server.py.
"""

from dataclasses import dataclass
from typing import Any

from plumbline_guard.errors import Failed
from plumbline_guard.events import DONE, EventReader, written
from plumbline_guard.fields import finish_reason, index_of, json_object, object_in, objects_in, senseless, usage_in
from plumbline_guard.rules import OutputRules
from plumbline_guard.scanner import ForbiddenError, HeldTooLongError
from plumbline_guard.texts import AnswerTexts, joined
from plumbline_guard.wording import Wording

__all__ = ["Answer", "StreamedAnswer", "guard_answer"]


@dataclass(frozen=True)
class Answer:
    """What the client gets, and why."""

    body: bytes
    blocked_by: str | None = None


def guard_answer(raw: bytes, rules: OutputRules, wording: Wording) -> Answer:
    """Judge a whole answer.

    Raises:
        Failed: it is no chat completion.
    """
    body = json_object(raw)
    texts = AnswerTexts(rules, wording.call_prefix)
    try:
        choices = [_whole_choice(choice, texts) for choice in objects_in(body, "choices")]
    except ForbiddenError as forbidden:
        return Answer(wording.refused_completion(), forbidden.rule_id)
    except HeldTooLongError as error:
        raise _undecided() from error
    finally:
        texts.close()
    if not choices:
        raise senseless("an answer without choices")
    return Answer(wording.completion(choices, usage_in(body)))


def _whole_choice(choice: dict[str, Any], texts: AnswerTexts) -> dict[str, Any]:
    index = index_of(choice)
    message = joined(texts.feed(index, _with_numbered_calls(object_in(choice, "message"))), texts.finish(index))
    for call in message.get("tool_calls", []):
        del call["index"]
    whole = {"role": "assistant", "content": None, **message}
    return {"index": index, "message": whole, "finish_reason": finish_reason(choice) or "stop"}


def _with_numbered_calls(message: dict[str, Any]) -> dict[str, Any]:
    """Deltas number their tool calls, whole messages do not."""
    calls = objects_in(message, "tool_calls")
    return {**message, "tool_calls": [{**call, "index": index} for index, call in enumerate(calls)]}


class StreamedAnswer:
    """Judges an answer while it streams: feed() until it is over, then end(); close() in any case."""

    def __init__(self, rules: OutputRules, wording: Wording) -> None:
        self._wording = wording
        self._events = EventReader()
        self._texts = AnswerTexts(rules, wording.call_prefix)
        self._role_sent = False
        self._text_sent = False
        self.over = False
        """Whether the last event has been written."""
        self.blocked_by: str | None = None

    def feed(self, piece: bytes) -> bytes:
        """Take bytes from the engine; return bytes for the client. Raises Failed where they make no sense."""
        out: list[bytes] = []
        try:
            for data in self._events.feed(piece):
                out.append(self._done() if data == DONE else self._event(json_object(data)))
                if self.over:
                    break
        except ForbiddenError as forbidden:
            self.over, self.blocked_by = True, forbidden.rule_id
            out.append(self._wording.refused_stream(role_sent=self._role_sent, text_sent=self._text_sent))
        except HeldTooLongError as error:
            raise _undecided() from error
        return b"".join(out)

    def end(self) -> None:
        """The engine sends no more; raises Failed if the answer is not over: it has been broken off."""
        if not self.over:
            raise Failed(502, "upstream_closed", "the engine broke off before the answer was complete")

    def close(self) -> None:
        """Free the scanners."""
        self._texts.close()

    def _event(self, body: dict[str, Any]) -> bytes:
        if body.get("error"):
            raise senseless("an error in the middle of its answer")
        choices = [built for choice in objects_in(body, "choices") if (built := self._choice(choice))]
        usage = usage_in(body)
        return self._wording.chunk(choices, usage) if choices or usage else b""

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        index, finish = index_of(choice), finish_reason(choice)
        delta = self._texts.feed(index, object_in(choice, "delta"))
        if finish is not None:
            delta = joined(delta, self._texts.finish(index))
        return self._sendable(index, delta, finish)

    def _done(self) -> bytes:
        rests = [(index, self._texts.finish(index)) for index in self._texts.unfinished]
        choices = [built for index, rest in rests if rest and (built := self._sendable(index, rest, None))]
        self.over = True
        return (self._wording.chunk(choices) if choices else b"") + written(DONE)

    def _sendable(self, index: int, delta: dict[str, Any], finish: str | None) -> dict[str, Any] | None:
        if not delta and finish is None:
            return None  # the role goes out with the first text
        self._text_sent = self._text_sent or bool(delta)
        if not self._role_sent:
            delta = {"role": "assistant", "content": "", **delta}
            self._role_sent = True
        return {"index": index, "delta": delta, "finish_reason": finish}


def _undecided() -> Failed:
    return Failed(503, "undecided", "the guard cannot decide on this answer")
