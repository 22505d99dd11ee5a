"""Patterns that the guard cannot use are refused when they are written, whatever they hold."""

import pytest
from pydantic import ValidationError

from plumbline_api.rules import GuardRules


def rules(**rule: object) -> GuardRules:
    return GuardRules.parse({"rules": [{"id": "one", **rule}]})


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is not a regular expression"),
        ("a(?=b)", "look-around or a back-reference"),
        ("a(?<!b)", "look-around or a back-reference"),
        (r"(a)\1", "look-around or a back-reference"),
        ("a{99999999999999999999}", "is too large"),
        ("(" * 500 + ")" * 500, "is too large"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        rules(pattern=pattern)


@pytest.mark.parametrize("pattern", ["a+b", r"\d{3}-\d{4}", "[[a]", "(?:a|b)c", r"\\x"])
def test_a_plain_pattern_is_taken(pattern: str) -> None:
    assert rules(pattern=pattern).rules[0].pattern == pattern


def test_a_rule_has_phrases_or_a_pattern() -> None:
    for rule in ({}, {"phrases": ["abc"], "pattern": "abc"}):
        with pytest.raises(ValidationError, match="give either phrases or pattern"):
            rules(**rule)


def test_ids_are_unique() -> None:
    with pytest.raises(ValidationError, match="two rules have the id one"):
        GuardRules.parse({"rules": [{"id": "one", "phrases": ["abc"]}] * 2})
