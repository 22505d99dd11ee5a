"""Shapes of training rows: what is accepted, and how a row that fits none is named."""

from typing import Any

import pytest

from plumbline_trainer.rows import Dialogue, Message, Pair, Problem, RowProblem, parse_dialogue, parse_pair

USER = {"role": "user", "content": "hello"}
GOOD = {"role": "assistant", "content": "hi"}
POOR = {"role": "assistant", "content": "go away"}
SYSTEM = {"role": "system", "content": "be kind"}
ASKED = (Message("user", "hello"),)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, GOOD]},
        {"prompt": [USER], "completion": [GOOD]},
        {"prompt": "hello", "completion": "hi"},
        {"prompt": "hello", "completion": [GOOD], "id": 7},
    ],
)
def test_a_dialogue_is_read_from_every_shape(row: dict[str, Any]) -> None:
    assert parse_dialogue(row) == Dialogue(ASKED, "hi")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "hello", "chosen": "hi", "rejected": "go away"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [POOR]},
        {"chosen": [USER, GOOD], "rejected": [USER, POOR]},
        {"prompt": "hello", "chosen": [USER, GOOD], "rejected": [USER, POOR]},
    ],
)
def test_a_pair_is_read_from_every_shape(row: dict[str, Any]) -> None:
    assert parse_pair(row) == Pair(ASKED, "hi", "go away")


def test_an_earlier_answer_stays_in_the_prompt() -> None:
    row = {"messages": [SYSTEM, USER, GOOD, USER, POOR]}
    found = parse_dialogue(row)
    assert [message.role for message in found.prompt] == ["system", "user", "assistant", "user"]
    assert found.answer == "go away"


def test_an_implicit_prompt_is_the_whole_shared_beginning() -> None:
    found = parse_pair({"chosen": [SYSTEM, USER, GOOD, USER, GOOD], "rejected": [SYSTEM, USER, GOOD, USER, POOR]})
    assert len(found.prompt) == 4


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, Problem.SFT_SHAPE),
        ({"prompt": "hello"}, Problem.SFT_SHAPE),
        ({"prompt": "hello", "chosen": "hi", "rejected": "no"}, Problem.SFT_SHAPE),
        ({"messages": []}, Problem.BAD_MESSAGE),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, Problem.BAD_MESSAGE),
        ({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": []}]}, Problem.BAD_MESSAGE),
        ({"messages": [USER, {"role": "robot", "content": "hi"}]}, Problem.BAD_MESSAGE),
        ({"prompt": "hello", "completion": "half \ud800"}, Problem.BAD_MESSAGE),
        ({"messages": [GOOD]}, Problem.NO_PROMPT),
        ({"messages": [SYSTEM, GOOD]}, Problem.NO_PROMPT),
        ({"messages": [USER, GOOD, GOOD]}, Problem.NO_PROMPT),
        ({"messages": [USER, GOOD, USER]}, Problem.NO_ANSWER),
        ({"prompt": "hello", "completion": [GOOD, USER]}, Problem.NO_ANSWER),
        ({"prompt": "hello", "completion": " \n"}, Problem.EMPTY_ANSWER),
    ],
)
def test_a_dialogue_that_cannot_be_used_is_named(row: dict[str, Any], problem: Problem) -> None:
    with pytest.raises(RowProblem) as caught:
        parse_dialogue(row)
    assert caught.value.problem is problem


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": [USER, GOOD]}, Problem.DPO_SHAPE),
        ({"chosen": "hi", "rejected": "go away"}, Problem.DPO_SHAPE),
        ({"prompt": "hello", "chosen": "hi", "rejected": "hi "}, Problem.EQUAL_ANSWERS),
        ({"chosen": [USER, GOOD], "rejected": [USER, GOOD]}, Problem.EQUAL_ANSWERS),
        ({"prompt": "hello", "chosen": "hi", "rejected": ""}, Problem.EMPTY_ANSWER),
        ({"prompt": "other", "chosen": [USER, GOOD], "rejected": [USER, POOR]}, Problem.PROMPT_MISMATCH),
        ({"chosen": [USER, GOOD], "rejected": [USER]}, Problem.NO_ANSWER),
        ({"chosen": [USER, GOOD], "rejected": [SYSTEM, POOR]}, Problem.NO_ANSWER),
    ],
)
def test_a_pair_that_cannot_be_used_is_named(row: dict[str, Any], problem: Problem) -> None:
    with pytest.raises(RowProblem) as caught:
        parse_pair(row)
    assert caught.value.problem is problem
