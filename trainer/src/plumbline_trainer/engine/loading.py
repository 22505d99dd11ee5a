"""A checked-out model folder becomes a model in memory: weights, tokenizer, and what they say about themselves.

Called on the decoding thread, once. Imports torch, so that nothing before it has to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from plumbline_trainer.engine.chat import Message, RequestRefused
from plumbline_trainer.failures import BadData, BadSpec
from plumbline_trainer.modelfolder import check_model

__all__ = ["Loaded", "load_model"]


@dataclass(frozen=True)
class Loaded:
    """A model that can answer."""

    model: PreTrainedModel
    words: PreTrainedTokenizerFast
    context: int
    """Most tokens of a prompt and its answer together."""
    ends: frozenset[int]
    """Tokens that end an answer."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer proper, which several threads may use at once."""
        found: Tokenizer = self.words.backend_tokenizer
        return found

    @property
    def pad(self) -> int:
        """A token to fill rows with; it is masked, so any will do."""
        return self.words.pad_token_id if isinstance(self.words.pad_token_id, int) else min(self.ends)

    def prompt(self, messages: list[Message]) -> tuple[int, ...]:
        """The tokens that a conversation is put to the model as.

        Raises:
            RequestRefused: the chat template has no form for it.
        """
        turns = [
            {"role": "system" if turn.role == "developer" else turn.role, "content": turn.text} for turn in messages
        ]
        try:
            text = self.words.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise RequestRefused(
                400,
                f"messages: the model's chat template refuses this conversation ({error})",
                code="invalid_request",
                param="messages",
            ) from error
        return tuple(self.tokenizer.encode(str(text), add_special_tokens=False).ids)


def load_model(folder: Path, threads: int) -> Loaded:
    """Load a model folder for computing on this many threads.

    Raises:
        BadData: the folder is not a model that can chat.
    """
    check_model(folder)
    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    try:
        words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        both: Any = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=_precision(folder), output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadData(f"model: it cannot be loaded ({type(error).__name__}: {_first_line(error)})") from error
    model: PreTrainedModel = both[0]
    if not isinstance(words, PreTrainedTokenizerFast):
        raise BadData("model: its tokenizer has no fast form; save it with a tokenizer.json")
    config = model.config.get_text_config()
    _check_attention(config)
    _check_weights(both[1], rows=int(config.vocab_size), words=len(words))
    ends = _ends(model, words)
    return Loaded(model=model.eval(), words=words, context=_context(config, words), ends=ends)


def _precision(folder: Path) -> torch.dtype:
    """Single precision; bfloat16 for a model saved so, where the processor multiplies it natively (twice as fast)."""
    saved = AutoConfig.from_pretrained(folder, local_files_only=True).dtype
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001 (no public way)
    return torch.bfloat16 if saved == torch.bfloat16 and native else torch.float32


def _context(config: object, words: PreTrainedTokenizerFast) -> int:
    found = getattr(config, "max_position_embeddings", None)
    if isinstance(found, int) and found > 1:
        return found
    return int(min(words.model_max_length, 1 << 17))


def _ends(model: PreTrainedModel, words: PreTrainedTokenizerFast) -> frozenset[int]:
    settings = model.generation_config
    listed = settings.eos_token_id if settings is not None else None
    found = set(listed if isinstance(listed, list) else [listed]) | {words.eos_token_id}
    ends = frozenset(token for token in found if isinstance(token, int))
    if not ends:
        raise BadData("model: neither its generation_config.json nor its tokenizer names an end-of-text token; add one")
    return ends


def _check_attention(config: object) -> None:
    """This engine's cache holds full attention only."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None):
        kinds.add("sliding_attention")
    if kinds != {"full_attention"}:
        raise BadSpec(
            f"model: its layers are of kind {', '.join(sorted(kinds - {'full_attention'}))}, "
            "which this engine does not compute; serve it with another engine"
        )


def _check_weights(found: Mapping[str, Any], *, rows: int, words: int) -> None:
    """Refuse incomplete weights: transformers fills what is missing with noise and goes on."""
    lost = sorted(str(key) for kind in ("missing_keys", "mismatched_keys") for key in found.get(kind, ()))
    if lost:
        raise BadData(f"model: {len(lost)} weights are missing or of the wrong shape ({lost[0]}); save the model again")
    if words > rows:
        raise BadData(
            f"model: the tokenizer knows {words} tokens and the model {rows}; give the tokenizer it was trained with"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
