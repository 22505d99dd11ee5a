"""Whether the model's chat template fits: what is trained on must be what is seen when the model answers.

`stage` calls this after the data were read and before torch is imported: it needs the tokenizer and no weights.
TRL finds where an answer begins by comparing token lists, so a prompt rendered for generation must be the beginning
of the same prompt rendered with its answer; and without an end token after the answer a model never learns to stop.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from plumbline_trainer.data import DataSet, name_places
from plumbline_trainer.failures import BadData
from plumbline_trainer.modelfolder import ModelFolder
from plumbline_trainer.rows import Dialogue, Message, Pair, Place

__all__ = ["Fit", "Tokenizer", "check_template", "fit_rows", "load_tokenizer", "require_generation_marks"]

PROBE = (Message("user", "How are you?"),)
PROBE_ANSWER = "Very well."


class Tokenizer(Protocol):
    """What is needed of a transformers tokenizer."""

    eos_token: str | None

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """The text of a conversation."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text."""


@dataclass(frozen=True)
class Fit:
    """Which rows fit into maxLength: `kept` are indices; the counts are of rows."""

    kept: tuple[int, ...]
    cut: int
    """Rows longer than maxLength; the end of their answer is cut."""
    prompt_too_long: tuple[Place, ...] = field(default=())
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
        prompt = render(tokenizer, PROBE, None)
        whole = render(tokenizer, PROBE, PROBE_ANSWER)
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
    """Render and count every row; raises BadData for rows that the template refuses or does not round-trip."""
    from jinja2 import TemplateError

    kept: list[int] = []
    too_long: list[Place] = []
    broken: list[Place] = []
    cut = 0
    rows: Sequence[Dialogue | Pair] = data.rows
    for index, (place, row) in enumerate(zip(data.places, rows, strict=True)):
        try:
            lengths = _lengths(tokenizer, row)
        except TemplateError:
            lengths = None
        if lengths is None:
            broken.append(place)
        elif lengths[0] >= max_length:
            too_long.append(place)
        else:
            kept.append(index)
            cut += max(lengths) > max_length
    if broken:
        raise BadData(
            f"data set {name_places(broken)}: the model's chat template refuses these rows or renders their prompt "
            "differently with an answer; check the order of roles, or correct the template"
        )
    if not kept:
        raise BadData(
            f"data set: no row is left, because each prompt alone fills maxLength {max_length}; raise maxLength"
        )
    return Fit(tuple(kept), cut, tuple(too_long))


def render(tokenizer: Tokenizer, prompt: Sequence[Message], answer: str | None) -> str:
    """The text of a prompt ready for an answer, or of a prompt with its answer."""
    messages = [{"role": message.role, "content": message.content} for message in prompt]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer is None)


def _lengths(tokenizer: Tokenizer, row: Dialogue | Pair) -> list[int] | None:
    """Tokens of the prompt and of the prompt with each answer; None where the prompt is not the beginning."""
    answers = (row.answer,) if isinstance(row, Dialogue) else (row.chosen, row.rejected)
    prompt = tokenizer.encode(render(tokenizer, row.prompt, None), add_special_tokens=False)
    lengths = [len(prompt)]
    for answer in answers:
        whole = tokenizer.encode(render(tokenizer, row.prompt, answer), add_special_tokens=False)
        if whole[: len(prompt)] != prompt:
            return None
        lengths.append(len(whole))
    return lengths
