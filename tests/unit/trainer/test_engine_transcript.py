"""Text comes out in whole characters, never past a stop string, and joined it is the decoded whole."""

import random

import pytest

from plumbline_trainer.engine.transcript import Transcript
from tests.support.scripted_decoding import END, byte_tokenizer

TOKENIZER = byte_tokenizer()


def pieces(tokens: bytes, *stops: str) -> tuple[list[str], bool]:
    transcript = Transcript(TOKENIZER, stops)
    found = []
    for token in tokens:
        found.append(transcript.add(token))
        if transcript.stopped:
            break
    return [*found, transcript.finish()], transcript.stopped


@pytest.mark.parametrize("text", ["plain", "naïve café", "日本語", "👩‍👩‍👧 family", "a\u0301", " leading space\n"])
def test_characters_of_several_bytes_come_out_complete(text: str) -> None:
    found, _ = pieces(text.encode())
    assert "".join(found) == text
    assert not any("\ufffd" in piece for piece in found)


def test_bytes_that_are_no_text_decode_as_the_whole_does() -> None:
    rng = random.Random(7)
    for _ in range(200):
        tokens = bytes(rng.randrange(256) for _ in range(rng.randint(1, 24)))
        assert "".join(pieces(tokens)[0]) == TOKENIZER.decode(list(tokens))


def test_a_character_cut_off_by_the_limit_is_marked_and_not_lost() -> None:
    assert "".join(pieces("日".encode()[:2])[0]) == "\ufffd"


def test_special_tokens_are_not_text() -> None:
    transcript = Transcript(TOKENIZER)
    assert transcript.add(ord("a")) + transcript.add(END) + transcript.finish() == "a"


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one\ntwo", ("\n",), "one"),
        ("one END two", ("END",), "one "),
        ("aab aaab", ("aaa",), "aab "),
        ("xyz", ("q",), "xyz"),
        ("left STO", ("STOP",), "left STO"),
        ("a\u00e9b", ("\u00e9",), "a"),
        ("both B then A", ("A", "B"), "both "),
        ("stop", ("stop",), ""),
    ],
)
def test_text_ends_before_a_stop_string(text: str, stops: tuple[str, ...], expected: str) -> None:
    found, stopped = pieces(text.encode(), *stops)
    assert "".join(found) == expected
    assert stopped == (expected != text)


def test_nothing_of_a_stop_string_is_sent_before_it_is_complete() -> None:
    found, _ = pieces(b"go STOP on", "STOP")
    assert all("S" not in piece for piece in found)
