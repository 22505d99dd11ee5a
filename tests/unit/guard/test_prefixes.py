"""Prefixes: every beginning of every match is recognised at the end of a text."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline_guard.automata import Expression, PrefixMatcher
from plumbline_guard.prefixes import OpaquePatternError, reversed_prefixes

PATTERNS = [
    "secret",
    r"sk-[A-Za-z0-9]{20,40}",
    r"\b\d{3}-\d{2}-\d{4}\b",
    r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{2,}){1,4}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"-----BEGIN (?:RSA |EC )?PRIVATE KEY-----",
    r"(a|bc)+?x{2}y*$",
    r"canary[ _-]?(?P<n>[0-9a-f]{4}|[g-k]+)!?",
    r"\x{e9}t\xe9[^]a-c]",
    r"(?i)ab(?s:.)c|d(?:e|)f",
    r"[A-Z]{2}\d{100,300}",
]


def matcher(pattern: str) -> PrefixMatcher:
    return PrefixMatcher([Expression(0, reversed_prefixes(pattern), any_line=True)])


MATCHERS = {pattern: matcher(pattern) for pattern in PATTERNS}


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_beginning_of_a_match_is_held(pattern: str, data: st.DataObject) -> None:
    python = re.compile(re.sub(r"\\x\{(..)\}", r"\\x\1", pattern), re.ASCII)
    match = data.draw(st.from_regex(python, fullmatch=True))
    before = data.draw(st.text("xyz -", max_size=4))
    for length in range(1, len(match) + 1):
        assert MATCHERS[pattern].longest(before + match[:length]) >= length


@pytest.mark.parametrize(
    ("text", "held"),
    [("nothing here", 0), ("a s", 1), ("xx sec", 3), ("secre", 5), ("secrets", 1), ("SECR", 4), ("se cr", 0)],
)
def test_no_more_is_held_than_a_match_may_begin_with(text: str, held: int) -> None:
    assert MATCHERS["secret"].longest(text) == held


def test_held_text_is_counted_in_characters_and_not_in_bytes() -> None:
    assert MATCHERS[r"\x{e9}t\xe9[^]a-c]"].longest("xxét") == 2


@pytest.mark.parametrize(
    "pattern", [r"(?x) a b", r"a\1", r"\p{L}", "[[:alpha:]]x", "a(b", r"a{2}{3}", "(?=a)b", r"\Qa\E"]
)
def test_what_is_not_understood_is_said_to_be_opaque(pattern: str) -> None:
    with pytest.raises(OpaquePatternError):
        reversed_prefixes(pattern)
