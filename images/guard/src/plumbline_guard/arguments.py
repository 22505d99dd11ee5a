"""Scanning the arguments of a tool call: JSON, whose escapes could hide what a rule looks for.

Same use as TextScanner, which does the work. From the first backslash on, nothing is released until the arguments are
whole and their strings have been read and scanned, too. A call is made only when its arguments are whole, so the
delay costs nobody anything. texts.py owns these.
"""

from typing import Final

import orjson

from plumbline_guard.decoding import unescaped
from plumbline_guard.rules import OutputRules
from plumbline_guard.scanner import HOLD_LIMIT, HeldTooLongError, TextScanner
from plumbline_guard.values import strings_in

__all__ = ["ArgumentsScanner"]

_ESCAPE: Final = "\\"


class ArgumentsScanner:
    """Scans the arguments of one tool call in pieces."""

    def __init__(self, rules: OutputRules) -> None:
        self._rules = rules
        self._scanner = TextScanner(rules)
        self._whole = ""
        self._escaped = False
        self._waiting = ""

    def feed(self, piece: str) -> str:
        """Take the next piece; return what may be sent now. Raises as TextScanner.feed() does."""
        allowed = self._scanner.feed(piece)
        self._whole += piece
        if len(self._whole) > HOLD_LIMIT:
            raise HeldTooLongError
        self._escaped = self._escaped or _ESCAPE in piece
        if not self._escaped:
            return allowed
        self._waiting += allowed
        return ""

    def finish(self) -> str:
        """Take the end; return what was held. Raises as TextScanner.finish() does."""
        rest = self._waiting + self._scanner.finish()
        if self._escaped:
            for text in _meant(self._whole):
                self._require_allowed(text)
        return rest

    def close(self) -> None:
        """Give the scan up."""
        self._scanner.close()

    def _require_allowed(self, text: str) -> None:
        scanner = TextScanner(self._rules)
        try:
            scanner.feed(text)
            scanner.finish()
        finally:
            scanner.close()


def _meant(arguments: str) -> list[str]:
    """The strings that the arguments stand for."""
    try:
        return list(strings_in(orjson.loads(arguments)))
    except orjson.JSONDecodeError:
        return [unescaped(arguments)]
