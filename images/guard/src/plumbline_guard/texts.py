"""The texts of one answer, each with its scanner: what may be sent of every message or delta.

Used by answer.py. An answer may hold several texts: content, reasoning and refusal of each choice, name and arguments
of each tool call. Each is judged by itself, in the order in which its pieces arrive.
"""

from typing import Any, Final, NamedTuple

from plumbline_guard.arguments import ArgumentsScanner
from plumbline_guard.fields import index_of, object_in, objects_in, senseless
from plumbline_guard.rules import OutputRules
from plumbline_guard.scanner import TextScanner

__all__ = ["AnswerTexts", "joined"]

_ARGUMENTS: Final = "arguments"
_PLAIN: Final = ("content", "reasoning_content", "refusal")


class _Place(NamedTuple):
    """Where in an answer a text stands."""

    choice: int
    name: str
    call: int | None = None

    def holding(self, text: str) -> dict[str, Any]:
        """A delta with this text alone."""
        if self.call is None:
            return {self.name: text}
        return {"tool_calls": [{"index": self.call, "function": {self.name: text}}]}


class AnswerTexts:
    """Scans the texts of one answer; close() frees the scanners."""

    def __init__(self, rules: OutputRules, call_prefix: str) -> None:
        self._rules = rules
        self._call_prefix = call_prefix
        self._scanners: dict[_Place, TextScanner | ArgumentsScanner] = {}
        self._finished: set[int] = set()

    @property
    def unfinished(self) -> list[int]:
        """The choices that have texts whose end has not come."""
        return sorted({place.choice for place in self._scanners})

    def feed(self, choice: int, delta: dict[str, Any]) -> dict[str, Any]:
        """What may be sent of a message or delta, in the same form; raises as TextScanner.feed() does."""
        sendable: dict[str, Any] = {}
        for name in _PLAIN:
            said = delta.get(name)
            if said and (text := self._scan(_Place(choice, name), said)):
                sendable[name] = text
        if delta.get("tool_calls"):
            calls = [built for call in objects_in(delta, "tool_calls") if (built := self._call(choice, call))]
            if calls:
                sendable["tool_calls"] = calls
        return sendable

    def finish(self, choice: int) -> dict[str, Any]:
        """What was held of a choice that is complete; raises as TextScanner.finish() does."""
        self._finished.add(choice)
        rest: dict[str, Any] = {}
        for place in [place for place in self._scanners if place.choice == choice]:
            held = self._scanners.pop(place).finish()
            if held:
                rest = joined(rest, place.holding(held))
        return rest

    def close(self) -> None:
        """Give up what is not finished."""
        for scanner in self._scanners.values():
            scanner.close()
        self._scanners.clear()

    def _call(self, choice: int, call: dict[str, Any]) -> dict[str, Any] | None:
        index = index_of(call)
        function = object_in(call, "function")
        parts = {part: self._scan(_Place(choice, part, index), function.get(part)) for part in ("name", _ARGUMENTS)}
        built: dict[str, Any] = {"index": index}
        if call.get("id"):  # the engine's own id is text, too; the guard gives another
            built |= {"id": f"{self._call_prefix}_{choice}_{index}", "type": "function"}
        said = {part: text for part, text in parts.items() if text}
        if said:
            built["function"] = said
        return built if len(built) > 1 else None

    def _scan(self, place: _Place, text: object) -> str:
        if text is None or text == "":
            return ""
        if not isinstance(text, str) or place.choice in self._finished:
            raise senseless(f"{place.name} that is no text, or comes after the end")
        scanner = self._scanners.get(place)
        if scanner is None:
            kind = ArgumentsScanner if place.name == _ARGUMENTS else TextScanner
            scanner = self._scanners[place] = kind(self._rules)
        return scanner.feed(text)


def joined(delta: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """One delta that says what two say."""
    both = {**delta, **{name: delta.get(name, "") + text for name, text in more.items() if name != "tool_calls"}}
    calls = [*delta.get("tool_calls", []), *more.get("tool_calls", [])]
    if calls:
        both["tool_calls"] = _joined_calls(calls)
    return both


def _joined_calls(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_index: dict[int, dict[str, Any]] = {}
    for call in calls:
        known = by_index.setdefault(call["index"], {**call, "function": {}})
        for part, text in call.get("function", {}).items():
            known["function"][part] = known["function"].get(part, "") + text
    return list(by_index.values())
