"""What a text says in another writing: base64, hexadecimal, rot13, escapes, invisible tags.

A prompt can ask a model to read any of these. Decoding is bounded: no reading is longer than its source, there are
readings of readings and no deeper, and a text whose readings are out of proportion (BUDGET) cannot be judged.
Used by inspection.py, on input only.
"""

import base64
import codecs
import html
import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import unquote

__all__ = ["BUDGET", "TooMuchEncodedError", "readings"]

BUDGET: Final = 32
"""Characters of readings per character of the source, and 65,536 more."""
_FREE: Final = 65536

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{12,}(?:\r?\n[A-Za-z0-9+/_-]+)*")
_HEXADECIMAL: Final = re.compile(r"(?:(?:\\x|0x|0X|%)?[0-9a-fA-F]{2}[\s:,-]{0,2}){6,}")
_PAIR: Final = re.compile(r"(?:\\x|0x|0X|%)?([0-9a-fA-F]{2})")
_ESCAPE: Final = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]+")
_TAG_BASE: Final = 0xE0000
_URL_SAFE: Final = str.maketrans("-_", "+/")
_READABLE: Final = bytes([9, 10, 13, *range(0x20, 0x7F)])
_LEAST_READABLE: Final = 0.7


class TooMuchEncodedError(Exception):
    """The text holds more encoded text than will be read."""


def readings(text: str) -> list[str]:
    """Every reading of a text other than the plain one.

    Raises:
        TooMuchEncodedError: the readings would be out of proportion.
    """
    once = _read(text)
    rotated = _rot13(text)
    twice = [inner for source in [*once, rotated] for inner in _read(source)] + [_rot13(source) for source in once]
    everything = [rotated, *once, *twice]
    if sum(map(len, everything)) > _FREE + BUDGET * len(text):
        raise TooMuchEncodedError
    return everything


def _read(text: str) -> list[str]:
    return [reading for reader in _READERS for reading in reader(text)]


def _rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


def _base64(text: str) -> Iterator[str]:
    """Each span from each of the four places a group may begin at: a word may be glued to its front."""
    for span in _BASE64.finditer(text):
        letters = re.sub(r"\s", "", span.group()).translate(_URL_SAFE)
        for shift in range(4):
            words = _words(_decoded(letters[shift:]))
            if words is not None:
                yield words


def _decoded(letters: str) -> bytes:
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return base64.b64decode(letters + "=" * (-len(letters) % 4))


def _hexadecimal(text: str) -> Iterator[str]:
    for span in _HEXADECIMAL.finditer(text):
        words = _words(bytes.fromhex("".join(_PAIR.findall(span.group()))))
        if words is not None:
            yield words


def _escapes(text: str) -> Iterator[str]:
    if "\\" in text and _ESCAPE.search(text):
        halves = _ESCAPE.sub(_character, text)  # a character beyond U+FFFF is written as two halves
        yield halves.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "&" in text and (plain := html.unescape(text)) != text:
        yield plain
    if "%" in text and (plain := unquote(text)) != text:
        yield plain


def _character(escape: re.Match[str]) -> str:
    code = int(escape.group(1) or escape.group(2) or escape.group(3), 16)
    return chr(code) if code <= 0x10FFFF else ""


def _tags(text: str) -> Iterator[str]:
    if not text.isascii() and _TAGS.search(text):
        yield _TAGS.sub(lambda run: "".join(chr(ord(tag) - _TAG_BASE) for tag in run.group()), text)


def _words(data: bytes) -> str | None:
    """The bytes as text, unless they are no text: bytes read from the wrong place are about one third ASCII."""
    readable = len(data) - len(data.translate(None, _READABLE))
    if readable >= _LEAST_READABLE * len(data):
        return data.decode(errors="ignore")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


_READERS: Final[tuple[Callable[[str], Iterator[str]], ...]] = (_base64, _hexadecimal, _escapes, _tags)
