"""The canonical rows of training data, and the shapes they are parsed from (TRL's conversational formats).

`data` reads files into these; the trainers turn them into TRL's columns. A row that fits no shape raises RowProblem.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Dialogue", "Message", "Pair", "Place", "Problem", "RowProblem", "parse_dialogue", "parse_pair"]

ROLES = frozenset({"system", "user", "assistant", "tool"})


class Problem(StrEnum):
    """What can be wrong with a row: the fact, told after "rows:", and the remedy."""

    NOT_JSON = "not valid JSON; write one JSON object per line, in UTF-8"
    NOT_OBJECT = "not a JSON object; write one JSON object per line"
    SFT_SHAPE = 'neither {"messages"} nor {"prompt", "completion"}; see docs/training.md for the shapes of sft rows'
    DPO_SHAPE = (
        'neither {"prompt", "chosen", "rejected"} nor {"chosen", "rejected"} with a shared beginning; '
        "see docs/training.md for the shapes of dpo rows"
    )
    BAD_MESSAGE = 'a message that is not {"role", "content"} with a known role and text; convert tool calls and parts'
    NO_PROMPT = "no user message before the answer; give each row a prompt"
    NO_ANSWER = "the last message is not one assistant message; end each row with the answer to learn"
    EMPTY_ANSWER = "an empty answer; remove the rows or fill them in"
    EQUAL_ANSWERS = "chosen equal to rejected; remove the ties or correct the labels"
    PROMPT_MISMATCH = "chosen and rejected do not begin with the row's prompt; repeat it exactly or leave it out"


class RowProblem(Exception):
    """A row that cannot be used."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.value)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A row of supervised fine-tuning: everything before the last answer, and that answer."""

    prompt: tuple[Message, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of preference data: the same prompt answered well and badly."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str


def parse_dialogue(row: dict[str, Any]) -> Dialogue:
    """A row of the form {messages} or {prompt, completion}; texts stand for a user's or an assistant's message."""
    if "messages" in row and "completion" not in row:
        messages = _messages(row["messages"], "user")
        prompt, last = messages[:-1], messages[-1:]
    elif "prompt" in row and "completion" in row:
        prompt, last = _messages(row["prompt"], "user"), _messages(row["completion"], "assistant")
    else:
        raise RowProblem(Problem.SFT_SHAPE)
    answer = _answer(last)
    return Dialogue(_asks(prompt), answer)


def parse_pair(row: dict[str, Any]) -> Pair:
    """A row of the form {prompt, chosen, rejected}, or {chosen, rejected} as conversations with a shared beginning."""
    if "chosen" not in row or "rejected" not in row:
        raise RowProblem(Problem.DPO_SHAPE)
    chosen, rejected = _messages(row["chosen"], "assistant"), _messages(row["rejected"], "assistant")
    if "prompt" in row:
        prompt = _messages(row["prompt"], "user")
        chosen, rejected = _without(prompt, chosen), _without(prompt, rejected)
    elif isinstance(row["chosen"], str) or isinstance(row["rejected"], str):
        raise RowProblem(Problem.DPO_SHAPE)
    else:
        prompt = _shared(chosen, rejected)
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    good, bad = _answer(chosen), _answer(rejected)
    if good.strip() == bad.strip():
        raise RowProblem(Problem.EQUAL_ANSWERS)
    return Pair(_asks(prompt), good, bad)


def _messages(value: object, role: str) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message(role, _text(value)),)
    if not isinstance(value, list) or not value:
        raise RowProblem(Problem.BAD_MESSAGE)
    return tuple(_message(item) for item in value)


def _message(item: object) -> Message:
    if not isinstance(item, dict) or set(item) != {"role", "content"} or item["role"] not in ROLES:
        raise RowProblem(Problem.BAD_MESSAGE)
    return Message(item["role"], _text(item["content"]))


def _text(value: object) -> str:
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise RowProblem(Problem.BAD_MESSAGE)  # half a surrogate pair is no text: no tokenizer takes it
    return value


def _asks(prompt: tuple[Message, ...]) -> tuple[Message, ...]:
    if not any(message.role == "user" for message in prompt) or prompt[-1].role == "assistant":
        raise RowProblem(Problem.NO_PROMPT)
    return prompt


def _answer(messages: tuple[Message, ...]) -> str:
    if len(messages) != 1 or messages[0].role != "assistant":
        raise RowProblem(Problem.NO_ANSWER)
    if not messages[0].content.strip():
        raise RowProblem(Problem.EMPTY_ANSWER)
    return messages[0].content


def _without(prompt: tuple[Message, ...], answer: tuple[Message, ...]) -> tuple[Message, ...]:
    """The answer alone, where a row repeats the prompt in front of it (as UltraFeedback does)."""
    if len(answer) == 1:
        return answer
    if answer[: len(prompt)] != prompt:
        raise RowProblem(Problem.PROMPT_MISMATCH)
    return answer[len(prompt) :]


def _shared(one: tuple[Message, ...], other: tuple[Message, ...]) -> tuple[Message, ...]:
    """The common beginning; the last message of each is an answer, even where both are equal."""
    length = 0
    while length < min(len(one), len(other)) - 1 and one[length] == other[length]:
        length += 1
    return one[:length]
