"""The two answers of a pair in one row behind their common beginning, so that the prompt is computed once.

Prefix sharing (Wang and Hegde 2024, arXiv:2410.20305). TRL's batch of B pairs holds 2B rows, the chosen before the
rejected, each with the prompt in front. Here row i of the model's layers becomes

    tokens     p1 .. pn c1 .. cj r1 .. rk        p: what both have in front; c, r: what only one has
    positions   0 .. n-1 n .. n+j-1 n .. n+k-1   both answers follow the prompt

and no r attends to a c. What comes out is laid out as the 2B rows again, so the loss is TRL's own and, but for the
order of additions, the same number. Installed by `dpo`.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

__all__ = ["Joined", "join_pairs", "share_prefixes"]

_FAMILIES: Final = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Families of models that a test compares with and without; another may see more than its mask, as those with state."""
_ATTENTION: Final = "sdpa"
"""The implementation of attention that takes a mask of truth values from its caller."""


@dataclass(frozen=True)
class Joined:
    """B pairs of at most T tokens as B rows of W columns."""

    tokens: Tensor
    """B x W."""
    positions: Tensor
    """B x W."""
    visible: Tensor
    """B x 1 x W x W, true where the token of the row may attend to that of the column."""
    columns: Tensor
    """2B x T: the column of each token of the batch; that of padding is any."""


def share_prefixes(model: PreTrainedModel) -> bool:
    """Let the layers of a model compute each pair of a batch of TRL's in one row; whether that can be done."""
    if not _can_share(model.config):
        return False
    layers = model.base_model
    sharing = _Sharing()
    layers.register_forward_pre_hook(sharing.join, with_kwargs=True)
    layers.register_forward_hook(sharing.part)
    return True


def join_pairs(input_ids: Tensor, attention_mask: Tensor) -> Joined:
    """Join the rows of B chosen and B rejected answers.

    Args:
        input_ids: 2B x T, padded on the right.
        attention_mask: 2B x T, 1 for a token and 0 for padding.
    """
    chosen, rejected = input_ids.chunk(2)
    chosen_mask, rejected_mask = attention_mask.bool().chunk(2)
    shared = ((chosen == rejected) & chosen_mask & rejected_mask).long().cumprod(1).sum(1, keepdim=True)
    end, own = chosen_mask.sum(1, keepdim=True), rejected_mask.sum(1, keepdim=True) - shared
    width, last = int((end + own).max()), input_ids.shape[1] - 1
    column = torch.arange(width, device=input_ids.device).expand(len(chosen), -1)
    is_chosen = column < end
    positions = torch.where(is_chosen, column, column - end + shared).clamp(max=last)
    tokens = torch.where(is_chosen, chosen.gather(1, positions), rejected.gather(1, positions))
    hidden = ~is_chosen.unsqueeze(2) & ((column >= shared) & is_chosen).unsqueeze(1)
    visible = (column.unsqueeze(2) >= column.unsqueeze(1)) & ~hidden
    place = torch.arange(last + 1, device=input_ids.device).expand(len(chosen), -1)
    behind = torch.where(place < shared, place, place - shared + end)
    return Joined(tokens, positions, visible.unsqueeze(1), torch.cat([place, behind]).clamp(max=width - 1))


class _Sharing:
    """The two hooks, and what the second has to know of the first."""

    def __init__(self) -> None:
        self._columns: Tensor | None = None

    def join(self, _layers: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Replace the batch by its joined rows."""
        joined = join_pairs(kwargs["input_ids"], kwargs["attention_mask"])
        self._columns = joined.columns
        return args, kwargs | {
            "input_ids": joined.tokens,
            "position_ids": joined.positions,
            "attention_mask": joined.visible,
        }

    def part(self, _layers: nn.Module, _args: Any, output: Any) -> Any:
        """Lay the hidden states out as the rows of the batch."""
        columns, self._columns = self._columns, None
        if columns is None:
            raise RuntimeError("the layers were run without their batch being joined")
        states = output.last_hidden_state
        both = torch.cat([states, states])
        output.last_hidden_state = both.gather(1, columns.unsqueeze(2).expand(-1, -1, states.shape[2]))
        return output


def _can_share(config: PreTrainedConfig) -> bool:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = config.model_type == "mistral" and config.sliding_window is not None
    attention = getattr(config, "_attn_implementation", None)
    return config.model_type in _FAMILIES and attention == _ATTENTION and kinds == {"full_attention"} and not windowed
