"""Folding: one plain form of text, so that a rule needs to be written once.

Compatibility forms, accents, case, invisible characters, look-alike letters, foreign digits and runs of white space
all fold to what a reader sees. Folding goes character by character (only white space looks one character back), so
folding a text in pieces gives the folded text: the scanner of streams relies on that. Used by rules.py, scanner.py
and inspection.py; what is *encoded* in a text is decoding.py's.
"""

import unicodedata
from typing import Final

from plumbline_guard.lookalikes import LOOKALIKES

__all__ = ["fold", "fold_after", "locate"]

_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me"}
_FILLERS: Final = frozenset("\u115f\u1160\u3164\uffa0\u17b4\u17b5")
_BLANKS: Final = frozenset("\u2800\u180e")

_ASCII_TABLE: Final = bytes(0x20 if chr(byte).isspace() else ord(chr(byte).lower()) for byte in range(128)) + bytes(128)
_ASCII_DROPPED: Final = bytes(byte for byte in [*range(0x20), 0x7F] if not chr(byte).isspace())


class _Table(dict[int, str]):
    """What each character folds to, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold_character(chr(code))
        return folded


_TABLE: Final = _Table()


def fold(text: str) -> str:
    """The plain form of a whole text."""
    if text.isascii():
        plain = text.encode().translate(_ASCII_TABLE, _ASCII_DROPPED).decode()
    else:
        plain = text.translate(_TABLE)
    while "  " in plain:
        plain = plain.replace("  ", " ")
    return plain


def fold_after(text: str, *, space: bool) -> str:
    """The plain form of a piece of text; `space` tells whether the plain form before it ended in a space."""
    plain = fold(text)
    return plain[1:] if space and plain.startswith(" ") else plain


def locate(text: str, index: int, *, space: bool) -> int:
    """Where in `text` the character stands that gave character `index` of fold_after(text, space=space)."""
    produced = 0
    for position, character in enumerate(text):
        piece = fold_after(character, space=space)
        produced += len(piece)
        if produced > index:
            return position
        if piece:
            space = piece.endswith(" ")
    return len(text)


def _fold_character(character: str) -> str:
    if character.isspace() or character in _BLANKS:
        return " "
    if character in _FILLERS:
        return ""
    plain = unicodedata.normalize("NFKD", character).casefold()
    return "".join(_fold_part(part) for part in unicodedata.normalize("NFKD", plain))


def _fold_part(part: str) -> str:
    if part.isspace():
        return " "
    if part in LOOKALIKES:
        return LOOKALIKES[part]
    if unicodedata.category(part) in _INVISIBLE:
        return ""
    digit = unicodedata.decimal(part, None)
    return part if digit is None else str(digit)
