"""Advice stands on the numbers it names, and is silent where nothing stands out."""

import pytest

from plumbline_trainer.advice import advise

CALM = {"rowsIn": 100, "rowsKept": 100, "duplicates": 5, "cut": 5, "rejected.promptTooLong": 0}


def test_where_nothing_stands_out_nothing_is_advised() -> None:
    assert advise(CALM, {"loss": 0.4, "rewards/accuracies": 0.95}) == ()


@pytest.mark.parametrize(
    ("counts", "metrics", "told"),
    [
        ({"cut": 20}, {}, "20 of 100 rows exceed maxLength"),
        ({"rejected.promptTooLong": 1}, {}, "1 of 100 rows were left out"),
        ({"duplicates": 30}, {}, "30 of 100 rows are exact copies"),
        ({}, {"rewards/accuracies": 0.5}, "in 50% of pairs only"),
    ],
)
def test_each_piece_of_evidence_has_its_sentence(counts: dict[str, int], metrics: dict[str, float], told: str) -> None:
    (sentence,) = advise(CALM | counts, metrics)
    assert told in sentence
