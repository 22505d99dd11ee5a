"""The order of rows: each once, a step's rows by length, and the same again for the same seed and epoch."""

import pytest

from plumbline_trainer.batches import StepOrder, passes_per_batch

LENGTHS = [9, 1, 7, 3, 8, 2, 6, 4, 5, 10, 12, 11]


def rows(seed: int, epoch: int) -> list[int]:
    order = StepOrder(LENGTHS, 4, seed)
    order.set_epoch(epoch)
    return list(order)


def test_every_row_comes_once_and_a_step_has_the_shortest_first() -> None:
    found = rows(0, 0)
    assert sorted(found) == list(range(12))
    for start in (0, 4, 8):
        step = [LENGTHS[row] for row in found[start : start + 4]]
        assert step == sorted(step)


def test_seed_and_epoch_decide_the_order_and_nothing_else_does() -> None:
    assert rows(3, 1) == rows(3, 1)
    assert len({tuple(rows(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_steps_are_random_samples_and_not_sorted_over_all() -> None:
    first = sorted(rows(0, 0)[:4])
    assert first != [1, 3, 5, 7]


@pytest.mark.parametrize(("batch", "passes"), [(64, 4), (8, 4), (6, 2), (4, 2), (3, 1), (2, 1), (1, 1)])
def test_a_batch_is_divided_only_into_equal_passes_of_at_least_two_rows(batch: int, passes: int) -> None:
    assert passes_per_batch(batch) == passes


@pytest.mark.parametrize(
    ("batch", "processes", "passes"), [(64, 2, 4), (8, 4, 4), (4, 2, 2), (2, 2, 2), (16, 8, 8), (6, 3, 3)]
)
def test_processes_have_equal_numbers_of_passes(batch: int, processes: int, passes: int) -> None:
    assert passes_per_batch(batch, processes) == passes


def test_the_last_step_may_be_smaller() -> None:
    assert sorted(StepOrder([3, 1, 2], 2, 0)) == [0, 1, 2]
