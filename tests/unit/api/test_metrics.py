"""Rates and outcomes survive the wire; what is not a rate is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from plumbline_api.metrics import (
    JudgeQuality,
    MetricName,
    MetricRow,
    format_selector,
    list_rates,
    pack_outcomes,
    parse_selector,
    tabulate,
    unpack_outcomes,
)
from plumbline_api.report import Result, Summary

ROW = MetricRow(metric=MetricName.FALSE_REFUSAL_RATE, labels={"split": "x"}, numerator=1, denominator=2)


@given(st.lists(st.booleans(), max_size=2000))
def test_outcomes_come_back(outcomes: list[bool]) -> None:
    assert unpack_outcomes(pack_outcomes(outcomes)) == tuple(outcomes)


def test_two_thousand_outcomes_fit_their_field() -> None:
    assert len(pack_outcomes([number % 2 == 0 for number in range(2000)])) <= 1024


@pytest.mark.parametrize("text", ["", "3", "3:", "x:eNoDAAAAAAE=", "3:!!", "-1:eNoDAAAAAAE=", "9:eNoDAAAAAAE="])
def test_what_is_no_set_of_outcomes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a set of outcomes"):
        unpack_outcomes(text)


def test_selectors_come_back() -> None:
    for text in ("a_rate", "a_rate{category=self_harm}", "a_rate{attack=role_play,split=unseen_actions}"):
        assert format_selector(*parse_selector(text)) == text


@pytest.mark.parametrize("text", ["", "A", "a{", "a{}", "a{b}", "a{b=}", "a{b=c", "a{b=c,}", "a b", "a{b=c}d"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a metric"):
        parse_selector(text)


def test_rows_come_back_from_their_short_form() -> None:
    rows = (MetricRow(metric=MetricName.FALSE_REFUSAL_RATE, numerator=0, denominator=0), ROW)
    assert list_rates(tabulate(rows)) == rows
    summary = Summary(result=Result.SUCCEEDED, rows=rows)
    assert Summary.parse(summary.dump()) == summary


def test_a_row_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="one metric stands twice"):
        Summary(result=Result.SUCCEEDED, rows=(ROW, ROW.model_copy(update={"numerator": 2})))


@pytest.mark.parametrize(
    "table", [{"false_refusal_rate": {"": [1]}}, {"false_refusal_rate": [1, 2]}, {"x": {"": [1, 2]}}]
)
def test_rows_of_another_shape_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Summary.parse({"result": "Succeeded", "rows": table})


def test_a_judge_without_cases_has_no_quality() -> None:
    none = JudgeQuality(
        judge="j", labelled_set="s", true_positives=0, false_positives=0, false_negatives=0, true_negatives=9
    )
    assert (none.precision, none.recall) == (None, None)
    some = none.model_copy(update={"true_positives": 3, "false_positives": 1, "false_negatives": 2})
    assert (some.precision, some.recall) == (0.75, 0.6)
