"""Judging what goes in: every text of a request, as written, folded, and in every reading of decoding.py.

Called by server.py; built once, at start, from the rules that rules.py compiled.
"""

from collections.abc import Iterable

from plumbline_guard.decoding import Decoder
from plumbline_guard.rules import InputRules

__all__ = ["Inspector"]


class Inspector:
    """Judges the texts of requests."""

    def __init__(self, rules: InputRules) -> None:
        self._rules = rules
        self._decoder = Decoder()

    def broken_rule(self, texts: Iterable[str]) -> str | None:
        """The id of a rule that one of the texts breaks, or None.

        Raises:
            TooMuchEncodedError: a text cannot be judged.
        """
        return next(filter(None, map(self._broken_by, texts)), None) if self._rules.ids else None

    def _broken_by(self, text: str) -> str | None:
        rule = self._rules.broken_by(text)
        if rule is None:
            rule = next(filter(None, map(self._rules.broken_by, self._decoder.readings(text))), None)
        return rule
