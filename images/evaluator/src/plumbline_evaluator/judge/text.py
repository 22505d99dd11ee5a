"""Text as the rules see it: one spelling of quotes and spaces, split into sentences, reduced to content words.

Pure. Called by rules.py.
"""

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

__all__ = ["content_words", "echo", "normalise", "split_sentences", "topic", "touches", "words_of"]

_SPELLINGS = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": " - "})
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_SPACES = re.compile(r"[^\S\n]+")
_ENDS = re.compile(
    r"(?<=[.!?])[\"')\]*]*\s+(?=[\"'(*\[]*[a-z0-9<#-])"  # a sentence ends
    r"|\n+"
)
_ABBREVIATION = re.compile(r"\b(?:dr|mr|mrs|ms|e\.g|i\.e|etc|vs|st|\d+)\.$")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_STOP = frozenset(
    "a an the this that these those my your his her its our their me you him it us them i we he she they to of in on "
    "at by for with from into about and or but so if as is am are was were be been being do does did have has had will "
    "would can could should may might must shall not no please up out off over then than there here when how what who "
    "which why all any some just also very".split()
)
_ORDERS = frozenset(
    "write tell give make explain describe create generate provide list show suggest share help need want get use find "
    "good best better way ways thing things something someone people step steps short simple detailed example examples "
    "idea ideas tip tips know like new use using one two three work works person instruct develop design teach compose "
    "fun unique main name names function benefits recipe story poem script text article post".split()
)
_CLOSE = 0.8


def normalise(text: str) -> str:
    """Lower case, compatibility forms, straight quotes, single spaces; line ends stay."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_SPELLINGS)
    return _SPACES.sub(" ", plain.casefold()).strip()


def split_sentences(text: str) -> list[str]:
    """The sentences and lines of a normalised text, without empty ones; list markers stay with their line."""
    pieces: list[str] = []
    for piece in _ENDS.split(text):
        if pieces and _ABBREVIATION.search(pieces[-1]):
            pieces[-1] += " " + piece.strip()
        elif piece.strip():
            pieces.append(piece.strip())
    return pieces


def words_of(text: str) -> list[str]:
    """The words of a normalised text."""
    return _WORD.findall(text)


def content_words(text: str) -> list[str]:
    """The words that carry a normalised text's meaning, each once, possessives taken off."""
    words = (word.removesuffix("'s") for word in words_of(text))
    return list(dict.fromkeys(word for word in words if word not in _STOP))


def echo(request: Sequence[str], answer: Sequence[str]) -> float:
    """The share of the request's content words that the answer repeats; a slip of the pen is no difference."""
    if not request:
        return 0.0
    there = set(answer)
    return sum(word in there or _resembles(word, there) for word in request) / len(request)


def topic(request: str) -> frozenset[str]:
    """The stems of the words that tell what a request is about; none where it has no such words."""
    return frozenset(map(_stem, (word for word in content_words(request) if word not in _ORDERS)))


def touches(subject: frozenset[str], text: str) -> bool:
    """Whether a text has anything to do with a topic."""
    return not subject or any(_stem(word) in subject for word in words_of(text))


def _stem(word: str) -> str:
    for ending in ("'s", "ings", "ing", "edly", "ies", "ed", "es", "ers", "er", "ly", "s", "y", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word[:6]


def _resembles(word: str, others: set[str]) -> bool:
    if len(word) < 4:
        return False
    return any(
        other[0] == word[0]
        and abs(len(other) - len(word)) <= 2
        and SequenceMatcher(None, word, other, autojunk=False).ratio() >= _CLOSE
        for other in others
        if len(other) >= 4
    )
