"""Batched decoding with a key-value cache: prompts join and leave a running batch between steps.

Driven by `scheduler`, on one thread. A newcomer's cache is computed in a forward pass of its own and laid beside the
running ones (`batch`). One step is one forward pass of one token per row; nothing of `transformers.generate` runs.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from plumbline_trainer.engine.batch import Batch
from plumbline_trainer.engine.orders import Order
from plumbline_trainer.engine.sampling import Picker

__all__ = ["Decoder"]

PREFILL_TOKENS = 4096
"""Bound on rows x length of one forward pass over prompts, padding included."""


class Decoder:
    """One model and the batch it is working on; `scheduler.Decoding` is its interface."""

    def __init__(self, model: PreTrainedModel, pad: int) -> None:
        self._model = model
        self._pad = pad
        self._depth = int(model.config.get_text_config().num_hidden_layers)
        self._batch = Batch(self._depth)
        self._pickers: list[Picker] = []

    @torch.inference_mode()
    def admit(self, orders: Sequence[Order]) -> list[int]:
        """Add rows for these orders (below the present ones, in this order); return the first token of each."""
        first: list[int] = []
        for group in _groups([order.prompt for order in orders]):
            pickers = [Picker(orders[at].sampling) for at in group]
            batch, logits = self._read([orders[at].prompt for at in group])
            first += self._pick(batch, logits, pickers)
            if self._batch.rows:
                self._batch.join(batch)
            else:
                self._batch = batch
            self._pickers += pickers
        return first

    @torch.inference_mode()
    def step(self) -> list[int]:
        """Compute one more token for every row."""
        batch = self._batch
        batch.mask = torch.nn.functional.pad(batch.mask, (0, 1), value=True)
        logits = self._forward(batch, batch.tokens[:, None], batch.positions[:, None], batch.mask[:, None, None, :])
        batch.positions += 1
        return self._pick(batch, logits, self._pickers)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row but these."""
        if rows:
            self._batch.keep(rows)
        else:
            self._batch = Batch(self._depth)
        self._pickers = [self._pickers[row] for row in rows]

    def _read(self, prompts: Sequence[tuple[int, ...]]) -> tuple[Batch, Tensor]:
        """One forward pass over prompts, padded on the left."""
        length = max(len(prompt) for prompt in prompts)
        tokens = torch.tensor([[self._pad] * (length - len(prompt)) + list(prompt) for prompt in prompts])
        batch = Batch(self._depth)
        batch.mask = torch.tensor([[False] * (length - len(p)) + [True] * len(p) for p in prompts])
        positions = (batch.mask.cumsum(dim=1) - 1).clamp(min=0)
        logits = self._forward(batch, tokens, positions, _causal(batch.mask))
        batch.positions = positions[:, -1] + 1
        return batch, logits

    def _forward(self, batch: Batch, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        out = self._model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=Cache(layers=list(batch.layers)),
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = out.logits[:, -1]
        return logits

    def _pick(self, batch: Batch, logits: Tensor, pickers: Sequence[Picker]) -> list[int]:
        tokens = logits.argmax(dim=-1)
        for row, picker in enumerate(pickers):
            if not picker.greedy:
                tokens[row] = picker.pick(logits[row])
        batch.tokens = tokens
        picked: list[int] = tokens.tolist()
        return picked


def _causal(mask: Tensor) -> Tensor:
    """Each column sees the real columns up to itself; padding sees itself, so that nothing becomes not-a-number."""
    length = mask.shape[1]
    seen = torch.ones((length, length), dtype=torch.bool).tril() & mask[:, None, None, :]
    return seen | torch.eye(length, dtype=torch.bool)


def _groups(prompts: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Neighbours in order, so many that a padded group stays within PREFILL_TOKENS."""
    group: list[int] = []
    longest = 0
    for at, prompt in enumerate(prompts):
        width = max(longest, len(prompt))
        if group and width * (len(group) + 1) > PREFILL_TOKENS:
            yield group
            group, width = [], len(prompt)
        group.append(at)
        longest = width
    if group:
        yield group
