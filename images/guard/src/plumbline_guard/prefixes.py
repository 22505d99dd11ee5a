"""From a regular expression, the expression of everything a match of it can begin with.

Why: of a rule marked Never, not one character of a match may be sent. Text must therefore be held back from the first
character that could belong to a match still to come, and no longer. That point is the start of the longest ending of
the text that some match begins with. "Some match begins with" is a regular language too, so its expression can be
computed; and an ending of the text is a beginning of the reversed text. Hence `reversed_prefixes(pattern)`: an
anchored expression that is run over the reversed text, whose longest match is what to hold back.

The result may accept more than the exact language (white space at `$`, long repeats), never less: holding back too
much costs a moment, too little would leak. What the small parser here does not know it calls opaque, and the scanner
then holds the whole answer. Used by rules.py.
"""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["OpaquePatternError", "reversed_prefixes"]

_LONGEST_EXACT_REPEAT: Final = 64
_ESCAPES: Final = frozenset("dDwWsSnrtfva")
_QUANTIFIER: Final = re.compile(r"[*+?]|\{(\d+)(,(\d*))?\}")
_GROUP: Final = re.compile(r"\((\?:|\?P<\w+>|\?[ism]*(-[ism]+)?:|(?!\?))")
_FLAGS: Final = re.compile(r"\(\?[ism]+\)")
_HEXADECIMAL: Final = re.compile(r"\\x(\{[0-9a-fA-F]{1,6}\}|[0-9a-fA-F]{2})")
_START_OR_EDGE: Final = re.compile(r"\^|\\[AbB]")
_END: Final = re.compile(r"\$|\\[Zz]")


class OpaquePatternError(Exception):
    """The pattern has a construct whose beginnings are not worked out here."""


@dataclass(frozen=True)
class _Atom:
    """One character, a class of characters, or an escape: as written."""

    source: str


@dataclass(frozen=True)
class _Sequence:
    items: tuple["_Node", ...]


@dataclass(frozen=True)
class _Choice:
    options: tuple["_Node", ...]


@dataclass(frozen=True)
class _Repeat:
    item: "_Node"
    least: int
    most: int | None


_Node = _Atom | _Sequence | _Choice | _Repeat

# A final line break may stand between the end of a match and the end of the text.
_LINE_BREAK_AT_END: Final = _Repeat(_Atom(r"\n"), 0, 1)


def reversed_prefixes(pattern: str) -> str:
    """An anchored expression that finds, at the start of a reversed text, whatever a match may begin with.

    Raises:
        OpaquePatternError: the pattern has constructs that this module does not know.
    """
    parser = _Parser(pattern)
    node = parser.choice()
    if not parser.ended:
        raise OpaquePatternError(pattern)
    beginnings = _beginnings(node)
    if beginnings is None:
        raise OpaquePatternError(pattern)
    return f"^(?:{beginnings})"


class _Parser:
    """Recursive descent over the part of the syntax that the guard supports."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at >= len(self._pattern)

    def choice(self) -> _Node:
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else _Choice(tuple(options))

    def _sequence(self) -> _Node:
        items: list[_Node] = []
        while not self.ended and self._pattern[self._at] not in "|)":
            items.append(self._quantified(self._item()))
        return items[0] if len(items) == 1 else _Sequence(tuple(items))

    def _item(self) -> _Node:
        if self._match(_FLAGS) or self._match(_START_OR_EDGE):
            return _Sequence(())
        if self._match(_END):
            return _LINE_BREAK_AT_END
        if self._match(_GROUP):
            inside = self.choice()
            if not self._take(")"):
                raise OpaquePatternError(self._pattern)
            return inside
        return self._atom()

    def _atom(self) -> _Atom:
        first = self._pattern[self._at]
        if first == "[":
            return self._character_class()
        if first == "\\":
            return self._escape()
        if first in "(*+?{":
            raise OpaquePatternError(self._pattern)
        self._at += 1
        return _Atom(first if first == "." else re.escape(first))

    def _escape(self) -> _Atom:
        hexadecimal = self._match(_HEXADECIMAL)
        if hexadecimal:
            return _Atom(hexadecimal.group())
        escaped = self._pattern[self._at + 1 : self._at + 2]
        if not escaped or (escaped.isalnum() and escaped not in _ESCAPES):
            raise OpaquePatternError(self._pattern)
        self._at += 2
        return _Atom("\\" + escaped)

    def _character_class(self) -> _Atom:
        end = self._at + 1
        if self._pattern[end : end + 1] == "^":
            end += 1
        if self._pattern[end : end + 1] == "]":
            end += 1
        while self._pattern[end : end + 1] not in ("]", ""):
            end += 2 if self._pattern[end] == "\\" else 1
        source = self._pattern[self._at : end + 1]
        if not source.endswith("]") or re.search(r"\[[:.=]", source[1:]):
            raise OpaquePatternError(self._pattern)
        self._at = end + 1
        return _Atom(source)

    def _quantified(self, item: _Node) -> _Node:
        quantifier = self._match(_QUANTIFIER)
        if quantifier is None:
            return item
        self._take("?")  # lazy: the same matches
        if self._match(_QUANTIFIER):
            raise OpaquePatternError(self._pattern)
        least, most = _bounds(quantifier)
        return _Repeat(item, min(least, _LONGEST_EXACT_REPEAT), most)

    def _match(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        found = expression.match(self._pattern, self._at)
        if found:
            self._at = found.end()
        return found

    def _take(self, character: str) -> bool:
        taken = self._pattern.startswith(character, self._at)
        self._at += taken
        return taken


def _bounds(quantifier: re.Match[str]) -> tuple[int, int | None]:
    simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
    if quantifier.group() in simple:
        return simple[quantifier.group()]
    least = int(quantifier.group(1))
    if quantifier.group(2) is None:
        most: int | None = least
    else:
        most = int(quantifier.group(3)) if quantifier.group(3) else None
    return least, None if most is not None and most > _LONGEST_EXACT_REPEAT else most


def _reversed(node: _Node) -> str:
    """The expression of the reversed matches of a node."""
    match node:
        case _Atom(source):
            return source
        case _Sequence(items):
            return "".join(_reversed(item) for item in reversed(items))
        case _Choice(options):
            return f"(?:{'|'.join(_reversed(option) for option in options)})"
        case _Repeat(item, least, most):
            return _repeated(_reversed(item), least, most)


def _beginnings(node: _Node) -> str | None:
    """The expression of the reversed non-empty prefixes of a node's matches; None when there are none."""
    match node:
        case _Atom(source):
            return source
        case _Choice(options):
            return _either([_beginnings(option) for option in options])
        case _Sequence(items):
            later: str | None = None
            for item in reversed(items):
                whole_then_later = None if later is None else f"(?:{later}){_reversed(item)}"
                later = _either([_beginnings(item), whole_then_later])
            return later
        case _Repeat(_, _, 0):
            return None
        case _Repeat(_Atom(source), _, most):
            return _repeated(source, 1, most)
        case _Repeat(item, _, most):
            last = _beginnings(item)
            return None if last is None else last + _repeated(_reversed(item), 0, None if most is None else most - 1)


def _repeated(source: str, least: int, most: int | None) -> str:
    if not source or most == 0:
        return ""
    return f"(?:{source}){{{least},{'' if most is None else most}}}"


def _either(options: list[str | None]) -> str | None:
    known = [option for option in options if option is not None]
    return f"(?:{'|'.join(known)})" if known else None
