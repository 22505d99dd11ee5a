"""Picking one token from a row of logits: the likeliest, or a draw with temperature and top-p.

Used by `decoder`, one Picker per row, so that a seed gives the same draws whoever shares the batch.
"""

import torch
from torch import Tensor

from plumbline_trainer.engine.orders import Sampling

__all__ = ["Picker"]


class Picker:
    """Draws of one answer."""

    def __init__(self, sampling: Sampling) -> None:
        self.greedy = sampling.temperature == 0
        """Takes the likeliest token; `pick` is not needed."""
        self._sampling = sampling
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def pick(self, logits: Tensor) -> int:
        """Draw one token."""
        weights = torch.softmax(logits.float() / self._sampling.temperature, dim=-1)
        if self._sampling.top_p >= 1:
            return int(torch.multinomial(weights, 1, generator=self._generator))
        ordered, tokens = weights.sort(descending=True)
        # A token stays if those before it have not yet reached top_p; the first always does.
        ordered[ordered.cumsum(dim=-1) - ordered >= self._sampling.top_p] = 0
        return int(tokens[torch.multinomial(ordered, 1, generator=self._generator)])
