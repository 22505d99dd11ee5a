"""The scanner of streamed text: however a text is cut, the same is decided, and nothing forbidden gets out."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline_api.rules import GuardRule
from plumbline_guard.rules import OutputRules, compile_output
from plumbline_guard.scanner import HOLD_LIMIT, ForbiddenError, HeldTooLongError, TextScanner
from tests.support.guards import never, on_output

NEVER = compile_output(
    [
        never("canary one two", "tëst phrase", rule_id="canary"),
        never(pattern=r"sk-[A-Za-z0-9]{8,}", rule_id="key"),
        never(pattern=r"\b\d{3}-\d{2}-\d{4}\b", rule_id="ssn"),
        never(pattern=r"[\w.+-]{1,64}@[\w-]{1,63}\.[a-z]{2,}", rule_id="mail"),
        never(pattern=r"end of key$", rule_id="end"),
    ]
)
SECRETS = [
    "canary one two",
    "CANARY  one\ntwo",
    "c\u200ba\u200bnary one two",
    "ｃａｎａｒｙ one two",
    "canary one \u200b two",
    "test phrase",
    "sk-abcd1234",
    "078-05-1120",
    "０７８-０５-１１２０",
    "ann.other@example.org",
    "end of key",  # one only at the end of a text
]
SEPARATORS = ["", " ", ". ", "é", "\u200b", "日本", "\n\n", "x"]


def scan(rules: OutputRules, pieces: Iterable[str]) -> tuple[str, str | None]:
    """What was sent, and the rule that ended it."""
    scanner, sent = TextScanner(rules), ""
    try:
        for piece in pieces:
            sent += scanner.feed(piece)
        return sent + scanner.finish(), None
    except ForbiddenError as forbidden:
        return sent, forbidden.rule_id
    finally:
        scanner.close()


def cut(text: str, places: Iterable[int]) -> list[str]:
    borders = [0, *sorted(places), len(text)]
    return [text[start:end] for start, end in pairwise(borders)]


@pytest.mark.parametrize(
    ("secret", "after"), [*((secret, "") for secret in SECRETS), *((secret, " and more") for secret in SECRETS[:-1])]
)
def test_a_secret_cut_at_any_place_never_begins_to_get_out(secret: str, after: str) -> None:
    before = "The value is: "
    text = before + secret + after
    for place in range(len(text) + 1):
        sent, rule = scan(NEVER, cut(text, [place]))
        assert rule is not None
        assert before.startswith(sent)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_told_letter_by_letter_never_begins_to_get_out(secret: str) -> None:
    sent, rule = scan(NEVER, f"It is {secret}")
    assert rule is not None
    assert sent in ("It is ", "It is", "It", "")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_of_any_text_in_any_pieces_nothing_of_a_match_is_sent(data: st.DataObject) -> None:
    plain = st.text("abcks-@. 0189\n\u200bé", max_size=12)
    before = data.draw(plain) + data.draw(st.sampled_from(SEPARATORS))
    secret = data.draw(st.sampled_from(SECRETS[:-1]))
    text = before + " " + secret + " " + data.draw(plain)
    sent, rule = scan(NEVER, cut(text, data.draw(st.lists(st.integers(0, len(text)), max_size=8))))
    assert rule is not None
    assert (before + " ").startswith(sent)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_cutting_changes_neither_the_decision_nor_an_allowed_text(data: st.DataObject) -> None:
    words = st.sampled_from(
        ["canary", "one", "two", "sk-", "abcd12", "34", "-05-", "078", "1120", "a@b", ".co", "é", "\u200b"]
    )
    text = data.draw(st.sampled_from(["", " "])).join(data.draw(st.lists(words, max_size=8)))
    _, whole_rule = scan(NEVER, [text])
    sent, rule = scan(NEVER, cut(text, data.draw(st.lists(st.integers(0, len(text)), max_size=8))))
    assert (rule is None) == (whole_rule is None)
    assert rule is not None or sent == text


def test_text_that_begins_no_match_is_sent_at_once() -> None:
    scanner = TextScanner(NEVER)
    assert scanner.feed("Hello! ") == "Hello! "
    scanner.close()


def test_text_is_held_only_while_a_match_may_be_open() -> None:
    scanner = TextScanner(compile_output([never("secret plan")]))
    assert [scanner.feed(piece) for piece in ("The ", "sec", "ret ", "garden", " s")] == [
        "The ",
        "",
        "",
        "secret garden",
        " ",
    ]
    assert scanner.finish() == "s"


def test_stop_rules_hold_nothing_and_end_at_the_match() -> None:
    rules = compile_output([on_output("forbidden words")])
    assert scan(rules, ["some ", "forbid", "den wo", "rds here"]) == ("some forbidden wo", "out")


@pytest.mark.parametrize("pieces", [["ass", "isting"], ["a", "ss", "isting you"], ["cl", "ass", "ic"]])
def test_pieces_of_a_longer_word_are_not_the_word(pieces: list[str]) -> None:
    for rule in (on_output(pattern=r"\bass\b"), never(pattern=r"\bass\b")):
        assert scan(compile_output([rule]), pieces) == ("".join(pieces), None)


def test_the_word_at_the_end_of_a_text_is_found() -> None:
    for rule in (on_output(pattern=r"\bass\b"), never(pattern=r"\bass\b")):
        assert scan(compile_output([rule]), ["my ", "as", "s"])[1] is not None


def rule_that_must_be_held_whole() -> GuardRule:
    return never(pattern=r"start (?#a comment) finish")


def test_a_never_pattern_that_is_not_understood_holds_the_whole_text() -> None:
    rules = compile_output([rule_that_must_be_held_whole()])
    scanner = TextScanner(rules)
    assert scanner.feed("hello ") + scanner.feed("there") == ""
    assert scanner.finish() == "hello there"


def test_more_than_can_be_held_is_not_judged() -> None:
    scanner = TextScanner(compile_output([never(pattern=r"a.*z")]))
    with pytest.raises(HeldTooLongError):
        scanner.feed("a" + "b" * HOLD_LIMIT)
    scanner.close()


def test_invisible_characters_are_found_by_patterns_that_name_them() -> None:
    rules = compile_output([on_output(pattern=r"[\u200b\u2060]{3}"), on_output(pattern=r"\U0001f4a3", rule_id="bomb")])
    assert scan(rules, ["a\u200b", "\u2060\u200b"])[1] == "out"
    assert scan(rules, ["a \U0001f4a3"])[1] == "bomb"


def test_lone_halves_of_characters_are_scanned_and_do_no_harm() -> None:
    assert scan(NEVER, ["\ud83d", "sk-abcd", "1234"]) == ("\ud83d", "key")
