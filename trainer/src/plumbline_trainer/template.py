"""Whether the model's chat template fits: what is trained on must be what is seen when the model answers.

`stage` calls this after the data were read and before torch is imported: it needs the tokenizer and no weights.
A prompt rendered for generation must be the beginning of the same prompt rendered with its answer, in tokens too; and
without an end token after the answer a model never learns to stop. What is encoded here is what is trained on.
"""

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from plumbline_trainer.data import DataSet, name_places
from plumbline_trainer.failures import BadData
from plumbline_trainer.modelfolder import ModelFolder
from plumbline_trainer.rows import Dialogue, Message, Pair, Place

__all__ = [
    "Encoded", "Fit", "Tokenizer", "check_template", "fit_rows", "load_tokenizer", "refuse_misfit",
    "require_generation_marks",
]  # fmt: skip

PROBE = (Message("user", "How are you?"),)
PROBE_ANSWER = "Very well."
CHUNK = 512


class Tokenizer(Protocol):
    """What is needed of a transformers tokenizer."""

    eos_token: str | None
    chat_template: str

    def apply_chat_template(
        self, conversation: list[list[dict[str, str]]], *, tokenize: bool, add_generation_prompt: bool
    ) -> list[str]:
        """The texts of conversations."""

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> Mapping[str, list[list[int]]]:
        """The token ids of texts, among other things."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row in tokens: its prompt, ready for an answer, and what follows for each of its answers."""

    prompt: "array[int]"
    answers: "tuple[array[int], ...]"


@dataclass(frozen=True)
class Fit:
    """The rows of a data set in tokens, as far as they fit into maxLength."""

    kept: tuple[int, ...]
    """Indices into the data set."""
    encoded: tuple[Encoded, ...]
    """One per kept row, uncut."""
    cut: int
    """Rows longer than maxLength; the end of their answer is cut."""
    prompt_too_long: tuple[Place, ...]
    """Rows left out because nothing of their answer would remain."""


def load_tokenizer(model: ModelFolder) -> Tokenizer:
    """The model's tokenizer, without torch and without code from the folder."""
    from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

    try:
        loaded: Any = PreTrainedTokenizerFast.from_pretrained(str(model.path), local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadData("model: tokenizer.json cannot be read; save the tokenizer again") from error
    loaded.chat_template = model.template
    tokenizer: Tokenizer = loaded
    return tokenizer


def check_template(tokenizer: Tokenizer) -> None:
    """Refuse a template that does not round-trip, with a probe whose text is ours."""
    if not tokenizer.eos_token:
        raise BadData("model: the tokenizer has no eos_token, so answers have no end; set it in tokenizer_config.json")
    from jinja2 import TemplateError

    try:
        (prompt,) = _render(tokenizer, [PROBE], None)
        (whole,) = _render(tokenizer, [PROBE], [PROBE_ANSWER])
    except TemplateError as error:
        raise BadData(f"model: the chat template cannot be rendered ({type(error).__name__}); correct it") from error
    if not whole.startswith(prompt):
        raise BadData(
            "model: the chat template does not round-trip: a prompt rendered for generation is not the beginning of "
            "the same prompt with its answer; make add_generation_prompt add exactly what precedes an answer"
        )
    after = whole[len(prompt) :].strip()
    if not after.startswith(PROBE_ANSWER):
        raise BadData(
            "model: the chat template changes answers or puts text before them; "
            "let it render an assistant message's content as it is"
        )
    if not after.removeprefix(PROBE_ANSWER).lstrip().startswith(tokenizer.eos_token):
        raise BadData(
            f"model: the chat template does not end an answer with the eos_token {tokenizer.eos_token}; "
            "add it after an assistant message's content, or set eos_token to what the template writes"
        )


def require_generation_marks(template: str) -> None:
    """Refuse lossOn Assistant where the template does not say which text is the assistant's."""
    if not re.search(r"\{%-?\s*generation\s*-?%\}", template):
        raise BadData(
            "model: lossOn: Assistant needs {% generation %} ... {% endgeneration %} around the assistant's text in "
            "the chat template; add the marks or use lossOn: Completion"
        )


def fit_rows(tokenizer: Tokenizer, data: DataSet[Dialogue] | DataSet[Pair], max_length: int) -> Fit:
    """Render and encode every row; raises BadData for rows that the template refuses or does not round-trip."""
    kept: list[int] = []
    fitting: list[Encoded] = []
    too_long: list[Place] = []
    broken: list[Place] = []
    cut = 0
    rows: Sequence[Dialogue | Pair] = data.rows
    for index, row in enumerate(_encode_all(tokenizer, rows)):
        if row is None:
            broken.append(data.places[index])
        elif len(row.prompt) >= max_length:
            too_long.append(data.places[index])
        else:
            kept.append(index)
            fitting.append(row)
            cut += len(row.prompt) + max(len(answer) for answer in row.answers) > max_length
    if broken:
        raise BadData(
            f"data set {name_places(broken)}: the model's chat template refuses these rows or renders their prompt "
            "differently with an answer; check the order of roles, or correct the template"
        )
    if not kept:
        raise BadData(
            f"data set: no row is left, because each prompt alone fills maxLength {max_length}; raise maxLength"
        )
    return Fit(tuple(kept), tuple(fitting), cut, tuple(too_long))


def refuse_misfit(model: ModelFolder, fit: Fit, max_length: int) -> None:
    """Refuse tokens or lengths that the model was not made for: training would end in an error or in nonsense."""
    pieces = [piece for row in fit.encoded for piece in (row.prompt, *row.answers) if piece]
    largest = max(max(piece) for piece in pieces)
    if model.vocabulary is not None and largest >= model.vocabulary:
        raise BadData(
            f"model: its tokenizer gives token {largest}, but config.json has vocab_size {model.vocabulary}; "
            "give the tokenizer that belongs to the weights"
        )
    longest = min(max_length, max(len(row.prompt) + max(map(len, row.answers)) for row in fit.encoded))
    if model.positions is not None and longest > model.positions:
        raise BadData(
            f"data set: rows of {longest} tokens, but the model was made for {model.positions} "
            f"(max_position_embeddings); set maxLength to {model.positions} or less"
        )


def _encode_all(tokenizer: Tokenizer, rows: Sequence[Dialogue | Pair]) -> Iterator[Encoded | None]:
    """Each row in tokens; None where the template refuses it or the prompt is not the beginning."""
    from jinja2 import TemplateError

    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        try:
            yield from _encode(tokenizer, chunk)
        except TemplateError:
            for row in chunk:
                try:
                    yield from _encode(tokenizer, [row])
                except TemplateError:
                    yield None


def _encode(tokenizer: Tokenizer, rows: Sequence[Dialogue | Pair]) -> list[Encoded | None]:
    prompts = [row.prompt for row in rows]
    by_answer = zip(*(_answers(row) for row in rows), strict=True)
    texts = [_render(tokenizer, prompts, None)]
    texts += [_render(tokenizer, prompts, answers) for answers in by_answer]
    tokens = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return [_split(prompt, wholes) for prompt, *wholes in zip(*tokens, strict=True)]


def _split(prompt: list[int], wholes: Sequence[list[int]]) -> Encoded | None:
    if any(whole[: len(prompt)] != prompt for whole in wholes):
        return None
    return Encoded(array("i", prompt), tuple(array("i", whole[len(prompt) :]) for whole in wholes))


def _answers(row: Dialogue | Pair) -> tuple[str, ...]:
    return (row.answer,) if isinstance(row, Dialogue) else (row.chosen, row.rejected)


def _render(tokenizer: Tokenizer, prompts: Sequence[tuple[Message, ...]], answers: Sequence[str] | None) -> list[str]:
    """The texts of prompts ready for an answer, or of prompts with their answers."""
    messages = [[{"role": message.role, "content": message.content} for message in prompt] for prompt in prompts]
    if answers is not None:
        for conversation, answer in zip(messages, answers, strict=True):
            conversation.append({"role": "assistant", "content": answer})
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answers is None)
