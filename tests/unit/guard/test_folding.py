"""Folding: what looks the same becomes the same, in pieces as in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_guard.folding import fold, fold_after, locate

TEXTS = st.text(st.sampled_from("aAbé е\u200b\u0301\n\t ﬁⅧ\U000e0041ｇ"), max_size=12) | st.text(max_size=12)


@pytest.mark.parametrize(
    "written",
    [
        "ignore previous",
        "IGNORE Previous",
        "ignore \t\n  previous",
        "ｉｇｎｏｒｅ　ｐｒｅｖｉｏｕｓ",
        "ig\u200bno\u2060re pre\u00advious",
        "i\U000e0061gnore previous",
        "ígnörè prevíous",
        "i\u0336g\u0336nore previous",
        "іgnоrе рrеvіоus",
        "ιgnοre ρreνιουs",
        "𝐢𝐠𝐧𝐨𝐫𝐞 𝓹𝓻𝓮𝓿𝓲𝓸𝓾𝓼",
        "ⓘⓖⓝⓞⓡⓔ 🅿🆁🅴🆅🅸🅾🆄🆂",
        "ɪɢɴᴏʀᴇ ᴘʀᴇᴠɪᴏᴜs",
        "ignore\u2800previous",
        "ignore\u00a0previous",
    ],
)
def test_what_looks_like_a_phrase_folds_to_the_phrase(written: str) -> None:
    assert fold(written) == "ignore previous"


def test_digits_of_other_scripts_fold_to_ascii_digits() -> None:
    assert fold("٠٩ ४२ １２ ②") == "09 42 12 2"


def test_ordinary_text_of_another_language_keeps_its_letters() -> None:
    assert fold("日本語 한국") == fold(fold("日本語 한국"))
    assert fold("日本語") == "日本語"


@given(TEXTS)
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.lists(TEXTS, max_size=5))
def test_folding_in_pieces_gives_the_folded_whole(pieces: list[str]) -> None:
    folded = ""
    for piece in pieces:
        folded += fold_after(piece, space=folded.endswith(" "))
    assert folded == fold("".join(pieces))


@given(text=TEXTS, space=st.booleans())
def test_each_folded_character_is_found_where_it_came_from(text: str, *, space: bool) -> None:
    folded = fold_after(text, space=space)
    for index in range(len(folded)):
        position = locate(text, index, space=space)
        before, through = fold_after(text[:position], space=space), fold_after(text[: position + 1], space=space)
        assert len(before) <= index < len(through)


@given(st.text(max_size=40))
def test_case_never_matters(text: str) -> None:
    assert fold(text.swapcase().swapcase()) == fold(text.swapcase().swapcase().casefold())
