"""Rows under way: their key-value caches, right-aligned in buffers, and what is real in them.

Used by `decoder` alone. Every row ends at the same column; shorter rows have padding on the left, which the mask
tells. Positions are counted per row and keys carry theirs, so a row may be moved to other columns at any time.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

__all__ = ["Batch"]

ROOM = 64
"""Columns a cache grows by."""


class Layer(DynamicLayer):
    """Keys and values of one layer in buffers with room to grow, so that a step copies one column and not all."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers leaves it unannotated
        self.length = 0
        self.key_buffer = torch.empty(0)
        self.value_buffer = torch.empty(0)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append columns; return everything so far."""
        start, end = self.length, self.length + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.hold(_widen(key_states, end + ROOM), _widen(value_states, end + ROOM), end)
        else:
            if end > self.key_buffer.shape[-2]:
                self.hold(_widen(self.key_buffer, end + ROOM), _widen(self.value_buffer, end + ROOM), start)
            self.key_buffer[:, :, start:end] = key_states
            self.value_buffer[:, :, start:end] = value_states
            self.length = end
        return self.key_buffer[:, :, :end], self.value_buffer[:, :, :end]

    def hold(self, keys: Tensor, values: Tensor, length: int) -> None:
        """Take over buffers of which the first `length` columns are filled."""
        self.key_buffer, self.value_buffer, self.length = keys, values, length

    def keep(self, rows: Tensor, first: int) -> None:
        """Keep these rows, and the columns from `first` on."""
        end, room = self.length, self.length - first + ROOM
        keys, values = self.key_buffer[rows, :, first:end], self.value_buffer[rows, :, first:end]
        self.hold(_widen(keys, room), _widen(values, room), end - first)

    def join(self, other: "Layer") -> None:
        """Put the other's rows below these, right-aligned."""
        lengths = (self.length, other.length)
        keys = _stack(self.key_buffer, other.key_buffer, lengths)
        self.hold(keys, _stack(self.value_buffer, other.value_buffer, lengths), max(lengths))

    def get_seq_length(self) -> int:
        """Filled columns."""
        return self.length


def _widen(states: Tensor, columns: int) -> Tensor:
    """The same states in a buffer with this many columns; the new ones are empty."""
    wide = states.new_zeros((*states.shape[:2], columns, states.shape[3]))
    wide[:, :, : states.shape[2]] = states
    return wide


class Batch:
    """Rows under way: their caches, which columns are real, and each row's last token and next position."""

    def __init__(self, layers: int) -> None:
        self.layers = [Layer() for _ in range(layers)]
        self.mask = torch.zeros((0, 0), dtype=torch.bool)
        self.tokens = torch.zeros(0, dtype=torch.long)
        self.positions = torch.zeros(0, dtype=torch.long)

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.tokens)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, and only the columns that one of them uses."""
        index = torch.tensor(rows, dtype=torch.long)
        self.mask = self.mask[index]
        first = int(self.mask.any(dim=0).int().argmax()) if len(rows) else 0
        self.mask = self.mask[:, first:]
        self.tokens, self.positions = self.tokens[index], self.positions[index]
        for layer in self.layers:
            layer.keep(index, first)

    def join(self, other: "Batch") -> None:
        """Put the other's rows below these, right-aligned."""
        length = max(self.mask.shape[1], other.mask.shape[1])
        self.mask = torch.cat([_shift(self.mask, length), _shift(other.mask, length)])
        self.tokens = torch.cat([self.tokens, other.tokens])
        self.positions = torch.cat([self.positions, other.positions])
        for mine, new in zip(self.layers, other.layers, strict=True):
            mine.join(new)


def _shift(mask: Tensor, columns: int) -> Tensor:
    """The mask with padding columns put before it."""
    return torch.nn.functional.pad(mask, (columns - mask.shape[1], 0), value=False)


def _stack(upper: Tensor, lower: Tensor, lengths: tuple[int, int]) -> Tensor:
    """Two caches, filled to these lengths, below each other, right-aligned, in one buffer with room."""
    length, above = max(lengths), upper.shape[0]
    out = upper.new_zeros((above + lower.shape[0], upper.shape[1], length + ROOM, upper.shape[3]))
    out[:above, :, length - lengths[0] : length] = upper[:, :, : lengths[0]]
    out[above:, :, length - lengths[1] : length] = lower[:, :, : lengths[1]]
    return out
