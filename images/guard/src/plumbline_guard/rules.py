"""The policy's rules, compiled: InputRules for whole texts, OutputRules for answers that come in pieces.

Phrases are looked for in folded text only: folding a text that holds a phrase gives a text that holds the folded
phrase. Patterns are looked for in the text as it is (they may be about capitals of another script, line breaks or
invisible characters) and in the folded text. Compiled once, at start, from the PolicyFile; scanner.py and
inspection.py run them.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from plumbline_api.names import ExitCode
from plumbline_api.rules import Direction, Emission, GuardRule
from plumbline_guard.automata import (
    BlockMatcher,
    CompileError,
    Expression,
    PrefixMatcher,
    StreamMatcher,
)
from plumbline_guard.errors import PolicyError
from plumbline_guard.folding import fold
from plumbline_guard.prefixes import OpaquePatternError, reversed_prefixes

__all__ = ["InputRules", "NeverStarts", "OutputRules", "compile_input", "compile_output"]

_WIDE_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_EDGE_BESIDE_FOREIGN_LETTER: Final = re.compile(r"\\[bB][^\x00-\x7f]|[^\x00-\x7f]\\[bB]")
_REPEAT_WITHOUT_LEAST: Final = re.compile(r"(?<!\\)(?:\\\\)*\{,\d")


@dataclass(frozen=True)
class InputRules:
    """What may not go in."""

    ids: tuple[str, ...]
    patterns: BlockMatcher
    phrases: BlockMatcher

    def broken_by(self, text: str) -> str | None:
        """The id of a rule that the text breaks."""
        folded = fold(text)
        owner = self.patterns.first(text)
        if owner is None:
            owner = self.phrases.first(folded)
        if owner is None and folded != text.lower():  # otherwise the patterns have seen it already
            owner = self.patterns.first(folded)
        return None if owner is None else self.ids[owner]


class NeverStarts:
    """Where in a text a match of a Never rule may have begun."""

    def __init__(self, phrases: Iterable[str], patterns: PrefixMatcher, *, whole: bool) -> None:
        self._phrases = sorted(set(phrases))
        self._firsts = frozenset(phrase[0] for phrase in self._phrases)
        self._pairs = frozenset(phrase[:2] for phrase in self._phrases)
        self._longest = max(map(len, self._phrases), default=0)
        self._patterns = patterns
        self.whole = whole
        """Whether some rule's beginnings are not known, so that everything must be held."""

    def open_from(self, text: str) -> int:
        """The first character of a text, as written, that must be held; the text's length if none."""
        return 0 if self.whole else len(text) - self._patterns.longest(text)

    def open_from_folded(self, text: str) -> int:
        """The first character of a folded text that must be held; the text's length if none."""
        return min(self.open_from(text), self._phrase_from(text))

    def _phrase_from(self, text: str) -> int:
        last = len(text) - 1
        for start in range(max(0, len(text) - self._longest), len(text)):
            if text[start] not in self._firsts or (start < last and text[start : start + 2] not in self._pairs):
                continue
            ending = text[start:]
            nearest = bisect_left(self._phrases, ending)
            if nearest < len(self._phrases) and self._phrases[nearest].startswith(ending):
                return start
        return len(text)


@dataclass(frozen=True)
class OutputRules:
    """What may not come out."""

    ids: tuple[str, ...]
    patterns: StreamMatcher
    phrases: StreamMatcher
    never: NeverStarts | None
    """None where no rule is marked Never."""


def compile_input(rules: Iterable[GuardRule]) -> InputRules:
    """The rules that apply to input; raises PolicyError naming the rule that Hyperscan cannot run."""
    chosen = tuple(rule for rule in rules if Direction.INPUT in rule.applies_to)
    ids = tuple(rule.id for rule in chosen)
    try:
        return InputRules(ids, BlockMatcher(_patterns(chosen)), BlockMatcher(_phrases(chosen)))
    except CompileError as error:
        raise _unsupported(ids, error) from error


def compile_output(rules: Iterable[GuardRule]) -> OutputRules:
    """The rules that apply to output; raises PolicyError naming the rule that Hyperscan cannot run."""
    chosen = tuple(rule for rule in rules if Direction.OUTPUT in rule.applies_to)
    ids = tuple(rule.id for rule in chosen)
    try:
        patterns, phrases = StreamMatcher(_patterns(chosen)), StreamMatcher(_phrases(chosen))
    except CompileError as error:
        raise _unsupported(ids, error) from error
    return OutputRules(ids, patterns, phrases, _never_starts(chosen))


def _never_starts(rules: tuple[GuardRule, ...]) -> NeverStarts | None:
    never = tuple(rule for rule in rules if rule.emission is Emission.NEVER)
    if not never:
        return None
    phrases = [fold(phrase).strip() for rule in never for phrase in rule.phrases]
    try:
        beginnings = [
            Expression(item.owner, reversed_prefixes(item.source), any_line=True) for item in _patterns(never)
        ]
        return NeverStarts(phrases, PrefixMatcher(beginnings), whole=False)
    except (OpaquePatternError, CompileError):
        return NeverStarts(phrases, PrefixMatcher([]), whole=True)


def _patterns(rules: tuple[GuardRule, ...]) -> list[Expression]:
    return [_pattern(owner, rule) for owner, rule in enumerate(rules) if rule.pattern is not None]


def _pattern(owner: int, rule: GuardRule) -> Expression:
    source = _WIDE_ESCAPE.sub(_hexadecimal, rule.pattern or "")
    if _EDGE_BESIDE_FOREIGN_LETTER.search(source):
        raise _bad_rule(rule.id, r"\b knows ASCII letters only; write the neighbour out, as in (?:^|\s)")
    if _REPEAT_WITHOUT_LEAST.search(source):
        raise _bad_rule(rule.id, "write {0,3} instead of {,3}")
    return Expression(owner, source)


def _hexadecimal(escape: re.Match[str]) -> str:
    code = escape.group(1) or escape.group(2)
    return f"\\x{{{code.lstrip('0') or '0'}}}" if code else escape.group()


def _phrases(rules: tuple[GuardRule, ...]) -> list[Expression]:
    return [_phrase(owner, rule.id, text) for owner, rule in enumerate(rules) for text in rule.phrases]


def _phrase(owner: int, rule_id: str, text: str) -> Expression:
    folded = fold(text).strip()
    if not folded:
        raise _bad_rule(rule_id, "a phrase consists of invisible characters only; use a pattern")
    return Expression(owner, re.escape(folded), caseless=False)


def _bad_rule(rule_id: str, why: str) -> PolicyError:
    return PolicyError(f"rule {rule_id}: {why}", ExitCode.BAD_CONFIG)


def _unsupported(ids: tuple[str, ...], error: CompileError) -> PolicyError:
    if error.owner < 0:
        return PolicyError(f"rules: too large together ({error}); use fewer or simpler patterns", ExitCode.BAD_CONFIG)
    return _bad_rule(ids[error.owner], f"the scanner does not support the pattern: {error}; write it more simply")
