"""What a text says in another writing: base64, hexadecimal, rot13, escapes, invisible tags.

A prompt can ask a model to read any of these. Decoding is bounded: no reading is longer than its source, there are
readings of readings and no deeper, and a text whose readings are out of proportion (BUDGET) cannot be judged.
Used by inspection.py, on input; arguments.py reads the escapes of a tool call's arguments.
"""

import binascii
import html
import re
import string
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import unquote

from plumbline_guard.automata import BlockMatcher, Expression

__all__ = ["BUDGET", "Decoder", "TooMuchEncodedError", "unescaped"]

BUDGET: Final = 32
"""Characters of readings per character of the source, and 65,536 more."""
_FREE: Final = 65536

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]+)*")
_HEXADECIMAL: Final = re.compile(r"(?:(?:\\x|0x|0X|%)?[0-9a-fA-F]{2}[\s:,-]{0,2}){6,}")
_PAIR: Final = re.compile(r"(?:\\x|0x|0X|%)?([0-9a-fA-F]{2})")
_ESCAPE: Final = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]+")
_TAG_BASE: Final = 0xE0000
_WHITE: Final = re.compile(r"\s+")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_SHIFTED: Final = 24
"""Letters of base64 from which a word may be glued to its front."""
_PROBE: Final = 24
"""Letters of base64 that are tried before a long span is decoded."""
_READABLE: Final = bytes([9, 10, 13, *range(0x20, 0x7F)])
_MOST_UNREADABLE: Final = 0.3
_ALPHABETS: Final = (string.ascii_lowercase, string.ascii_uppercase)
_ROT13: Final = bytes.maketrans(
    "".join(_ALPHABETS).encode(), "".join(letters[13:] + letters[:13] for letters in _ALPHABETS).encode()
)


class TooMuchEncodedError(Exception):
    """The text holds more encoded text than will be read."""


class Decoder:
    """Finds the readings of a text. Hyperscan spots which readers are worth a try."""

    def __init__(self) -> None:
        readers: dict[str, Callable[[str], Iterator[str]]] = {
            r"[A-Za-z0-9+/_-]{16}": _base64,
            r"(?:(?:\\x|0x|%)?[0-9a-f]{2}[\s:,-]{0,2}){6}": _hexadecimal,
            r"\\[ux]": _escapes,
            r"&[a-z#]": _entities,
            r"%[0-9a-f]{2}": _percents,
            r"[\x{e0020}-\x{e007e}]": _tags,
        }
        self._readers = tuple(readers.values())
        self._spotter = BlockMatcher([Expression(owner, source) for owner, source in enumerate(readers)])

    def readings(self, text: str) -> list[str]:
        """Every reading of a text other than the plain one.

        Raises:
            TooMuchEncodedError: the readings would be out of proportion.
        """
        once = self._read(text)
        rotated = _rot13(text)
        twice = [inner for source in [*once, rotated] for inner in self._read(source)]
        everything = [rotated, *once, *twice, *(_rot13(source) for source in once)]
        if sum(map(len, everything)) > _FREE + BUDGET * len(text):
            raise TooMuchEncodedError
        return everything

    def _read(self, text: str) -> list[str]:
        return [reading for owner in self._spotter.every(text) for reading in self._readers[owner](text)]


def _rot13(text: str) -> str:
    return text.encode("utf-8", "replace").translate(_ROT13).decode()


def _base64(text: str) -> Iterator[str]:
    """Each span, from each of the four places a group may begin at if a word may be glued to its front."""
    for span in _BASE64.finditer(text):
        letters = span.group()
        if not letters.isalnum():
            letters = _WHITE.sub("", letters).translate(_URL_SAFE)
        for shift in range(4 if len(letters) >= _SHIFTED else 1):
            if len(letters) > 2 * _PROBE and not _worth_decoding(letters[shift:]):
                continue
            words = _words(_decoded(letters[shift:]))
            if words is not None:
                yield words


def _worth_decoding(letters: str) -> bool:
    """Whether the end of a long span is text: a glued word spoils the beginning only."""
    end = len(letters) // 4 * 4
    return _words(_decoded(letters[end - _PROBE : end])) is not None


def _decoded(letters: str) -> bytes:
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return binascii.a2b_base64(letters + "=" * (-len(letters) % 4))


def _hexadecimal(text: str) -> Iterator[str]:
    for span in _HEXADECIMAL.finditer(text):
        words = _words(bytes.fromhex("".join(_PAIR.findall(span.group()))))
        if words is not None:
            yield words


def unescaped(text: str) -> str:
    """The text with backslash escapes read."""
    halves = _ESCAPE.sub(_character, text)  # a character beyond U+FFFF is written as two halves
    return halves.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escapes(text: str) -> Iterator[str]:
    yield unescaped(text)


def _character(escape: re.Match[str]) -> str:
    code = int(escape.group(1) or escape.group(2) or escape.group(3), 16)
    return chr(code) if code <= 0x10FFFF else ""


def _entities(text: str) -> Iterator[str]:
    yield html.unescape(text)


def _percents(text: str) -> Iterator[str]:
    yield unquote(text)


def _tags(text: str) -> Iterator[str]:
    yield _TAGS.sub(lambda run: "".join(chr(ord(tag) - _TAG_BASE) for tag in run.group()), text)


def _words(data: bytes) -> str | None:
    """The bytes as text, unless they are no text: bytes read from the wrong place are about one third ASCII."""
    if len(data.translate(None, _READABLE)) <= _MOST_UNREADABLE * len(data):
        return data.decode(errors="ignore")
    if data.isascii():
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
