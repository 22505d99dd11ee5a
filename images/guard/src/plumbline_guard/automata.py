"""Hyperscan, behind three small classes. The only module that imports it.

    Expression      one regular expression and whom it belongs to
    BlockMatcher    scans a whole text at once
    StreamMatcher   opens Streams, which scan a text that arrives in pieces
    PrefixMatcher   how long an ending of a text is that some match begins with (see prefixes.py)

All text is encoded here, always to valid UTF-8: Hyperscan's behaviour on anything else is undefined. Its Python
binding keeps no reference to what a stream reports to, so Stream does; and it must not be asked for a stream's size.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import hyperscan

__all__ = ["BlockMatcher", "CompileError", "Expression", "PrefixMatcher", "Stream", "StreamMatcher"]

_BEYOND_ASCII: Final = re.compile(r"(?:^|[^\\])(?:\\\\)*\.|\[\^|\\[DSW]|\\x(?:\{|[89a-fA-F])")


class CompileError(Exception):
    """Hyperscan does not accept an expression; `owner` is the expression's, or -1 where no single one is to blame."""

    def __init__(self, owner: int, why: str) -> None:
        super().__init__(why)
        self.owner = owner


@dataclass(frozen=True)
class Expression:
    r"""One regular expression. \w, \d, \s and \b know ASCII only.

    (Hyperscan can give the classes all of Unicode, but then has no \b, and [\w.]{1,64} is too large for it. Folding
    has made ASCII of what looks like it.)
    """

    owner: int
    """What a match reports."""
    source: str
    caseless: bool = True
    any_line: bool = False
    """Whether a dot also stands for a line break."""

    @property
    def flags(self) -> int:
        """Hyperscan's flags. Knowing characters beyond ASCII costs compile time; only who can match one pays it."""
        flags = hyperscan.HS_FLAG_CASELESS if self.caseless else 0
        if not self.source.isascii() or _BEYOND_ASCII.search(self.source):
            flags |= hyperscan.HS_FLAG_UTF8
        if self.any_line:
            flags |= hyperscan.HS_FLAG_DOTALL
        return flags


class BlockMatcher:
    """Finds which expressions match anywhere in a text."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._database = _compiled(expressions, hyperscan.HS_MODE_BLOCK) if expressions else None

    def first(self, text: str) -> int | None:
        """The owner of the match that ends first."""
        if self._database is None or not text:
            return None
        owners: list[int] = []
        self._database.scan(_encoded(text), _note_owner, 0, owners)
        return owners[0] if owners else None

    def every(self, text: str) -> list[int]:
        """The owners of all matches, each once."""
        owners: list[int] = []
        if self._database is not None:
            self._database.scan(_encoded(text), _note_owner, 0, owners)
        return sorted(set(owners))


class StreamMatcher:
    """Opens streams."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._database = _compiled(expressions, hyperscan.HS_MODE_STREAM) if expressions else None

    def open(self) -> "Stream":
        """A stream for one text; it must be closed."""
        return Stream(self._database)


class Stream:
    """The state of a scan between two pieces of a text."""

    def __init__(self, database: hyperscan.Database | None) -> None:
        self._database = database
        self._owners: list[int] = []
        self._stream: hyperscan.Stream | None = None
        if database is not None:
            self._stream = database.stream(_note_owner, 0, self._owners)
            self._stream.__enter__()

    def feed(self, text: str) -> int | None:
        """Scan the next piece; the owner of the first match so far."""
        if self._stream is not None and text:
            self._stream.scan(_encoded(text))
        return self._owners[0] if self._owners else None

    def close(self) -> int | None:
        """Tell that the text has ended, which may complete matches; the owner of the first match."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.close()
        return self._owners[0] if self._owners else None


class PrefixMatcher:
    """Measures the longest ending of a text that a match begins with."""

    def __init__(self, anchored_reversed: Sequence[Expression]) -> None:
        self._database: hyperscan.Database | None = None
        if anchored_reversed:
            self._database = _compiled(anchored_reversed, hyperscan.HS_MODE_BLOCK, single=False)

    def longest(self, text: str) -> int:
        """Characters of that ending; 0 where no match can have begun."""
        if self._database is None or not text:
            return 0
        ends: list[int] = []
        backwards = _encoded(text[::-1])
        self._database.scan(backwards, _note_end, 0, ends)
        return len(backwards[: max(ends)].decode(errors="replace")) if ends else 0


def _note_owner(owner: int, _start: int, _end: int, _flags: int, owners: Any) -> None:
    owners.append(owner)


def _note_end(_owner: int, _start: int, end: int, _flags: int, ends: Any) -> None:
    ends.append(end)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _compiled(expressions: Sequence[Expression], mode: int, *, single: bool = True) -> hyperscan.Database:
    try:
        return _compile(expressions, mode, single=single)
    except hyperscan.error as error:
        raise _blame(expressions, mode, error) from error


def _compile(expressions: Sequence[Expression], mode: int, *, single: bool) -> hyperscan.Database:
    database = hyperscan.Database(mode=mode)
    once = hyperscan.HS_FLAG_SINGLEMATCH if single else 0
    database.compile(
        expressions=[expression.source.encode() for expression in expressions],
        ids=[expression.owner for expression in expressions],
        elements=len(expressions),
        flags=[expression.flags | once for expression in expressions],
    )
    return database


def _blame(expressions: Iterable[Expression], mode: int, error: Exception) -> CompileError:
    """Find the expression that alone does not compile: Hyperscan tells only that one does not."""
    for expression in expressions:
        try:
            _compile([expression], mode, single=True)
        except hyperscan.error as why:
            return CompileError(expression.owner, str(why))
    return CompileError(-1, str(error))
