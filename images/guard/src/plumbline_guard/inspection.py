"""Judging what goes in: every text of a request, as written, folded, and in every reading of decoding.py.

Pure; called by server.py with the rules that rules.py compiled at start.
"""

from collections.abc import Iterable, Iterator

from plumbline_guard.decoding import readings
from plumbline_guard.rules import InputRules

__all__ = ["broken_rule"]


def broken_rule(texts: Iterable[str], rules: InputRules) -> str | None:
    """The id of a rule that one of the texts breaks, or None.

    Raises:
        TooMuchEncodedError: a text cannot be judged.
    """
    if not rules.ids:
        return None
    for text in texts:
        for version in _versions(text):
            rule = rules.broken_by(version)
            if rule is not None:
                return rule
    return None


def _versions(text: str) -> Iterator[str]:
    yield text
    yield from readings(text)
