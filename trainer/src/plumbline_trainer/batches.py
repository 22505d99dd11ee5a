"""The order in which rows are trained on, and how the rows of one optimiser step are divided into forward passes.

Padding is work for nothing: in one batch of random rows the longest decides the width of all. So each step takes the
same rows as it would otherwise, sorted by length and divided into up to four passes of about equal rows, whose
gradients are summed; with short and long rows mixed this nearly halves the work of a step. Read by `options` and
`training`. Pure: the order depends on lengths, seed and epoch alone, so that a resumed run goes on where it was.
"""

from collections.abc import Iterator, Sequence
from random import Random

__all__ = ["MOST_PASSES", "StepOrder", "passes_per_batch"]

FEWEST_ROWS = 2
MOST_PASSES = 4


def passes_per_batch(batch_size: int, processes: int = 1) -> int:
    """Into how many equal passes a batch is divided, which its processes share: 4, 2 or 1, each of at least two rows.

    More processes than that have one pass each; `batch_size` is a multiple of their number.
    """
    for passes in (MOST_PASSES, 2, 1):
        if passes % processes == 0 and batch_size % passes == 0 and batch_size // passes >= FEWEST_ROWS:
            return passes
    return processes


class StepOrder:
    """A sampler: every row once per epoch, shuffled; within a step the shortest first."""

    def __init__(self, lengths: Sequence[int], rows_per_step: int, seed: int) -> None:
        self._lengths = lengths
        self._rows_per_step = rows_per_step
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop before each pass over the data."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Rows in an epoch."""
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        """The rows of the epoch."""
        rows = list(range(len(self._lengths)))
        Random(f"{self._seed}/{self._epoch}").shuffle(rows)
        for start in range(0, len(rows), self._rows_per_step):
            yield from sorted(rows[start : start + self._rows_per_step], key=self._lengths.__getitem__)
