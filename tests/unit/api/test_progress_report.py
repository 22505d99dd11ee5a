"""What a status endpoint reads: all that Kubeflow's clients send, and nothing that would spoil a status."""

import json
from typing import Any

import pytest

from plumbline_api.progress import BadReport, Metric, Progress, read_report, report_body
from tests.support.build import NOON


def read(**status: Any) -> Progress:
    return read_report(json.dumps({"trainerStatus": status}).encode(), NOON)


def texts(progress: Progress) -> dict[str, str]:
    return {metric.name: metric.value for metric in progress.metrics}


def test_what_is_posted_is_what_is_read_but_for_the_moment() -> None:
    told = Progress(
        progress_percentage=12,
        estimated_remaining_seconds=3,
        metrics=(Metric(name="loss", value="0.5"),),
        last_updated_time=NOON.replace(hour=3),
    )
    assert read_report(report_body(told), NOON) == told.model_copy(update={"last_updated_time": NOON})


def test_a_report_of_transformers_is_understood_and_its_steps_get_our_names() -> None:
    metrics = {"loss": 0.123456789012345, "current_step": 3, "total_steps": 9, "current_epoch": 0.33}
    found = read(
        lastUpdatedTime="2026-01-31T12:00:00.123456+00:00",
        progressPercentage=33,
        estimatedRemainingSeconds=60,
        metrics=[{"name": name, "value": str(value)} for name, value in metrics.items()],
    )
    assert (found.progress_percentage, found.estimated_remaining_seconds) == (33, 60)
    assert texts(found) == {"step": "3", "maxSteps": "9", "loss": "0.123456789012345", "current_epoch": "0.33"}


def test_fields_that_nobody_knows_are_passed_over_and_all_are_optional() -> None:
    assert read(mood="good") == Progress(last_updated_time=NOON)
    assert read(progressPercentage=None, metrics=None) == Progress(last_updated_time=NOON)


def test_metrics_beyond_the_limits_are_dropped_and_the_steps_are_kept() -> None:
    unusable: list[Any] = [
        {"name": "", "value": "1"},
        {"name": "n" * 65, "value": "1"},
        {"name": "long", "value": "1" * 65},
        {"name": "number", "value": 1},
        {"name": "escape", "value": "\x1b[2J"},
        {"name": "half", "value": "\ud800"},
        "text",
        {"value": "1"},
    ]
    many = [{"name": f"m{number}", "value": "1"} for number in range(40)]
    found = texts(read(metrics=[*unusable, *many, {"name": "current_step", "value": "7"}]))
    assert list(found) == ["step", *(f"m{number}" for number in range(31))]


def test_of_two_metrics_of_one_name_the_last_counts() -> None:
    assert texts(read(metrics=[{"name": "loss", "value": "1"}, {"name": "loss", "value": "2"}])) == {"loss": "2"}


def test_an_estimate_is_cut_to_what_the_api_server_takes() -> None:
    assert read(estimatedRemainingSeconds=10**300).estimated_remaining_seconds == 2**31 - 1


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff", b"[]", b"1", b'"a"', b"{}", b'{"trainerStatus": null}', b'{"trainerStatus": []}',
        b"[" * 8000, b'{"trainerStatus": {"progressPercentage": 101}}',
        b'{"trainerStatus": {"progressPercentage": -1}}',
        b'{"trainerStatus": {"progressPercentage": 1.5}}', b'{"trainerStatus": {"progressPercentage": true}}',
        b'{"trainerStatus": {"progressPercentage": "1"}}', b'{"trainerStatus": {"progressPercentage": NaN}}',
        b'{"trainerStatus": {"estimatedRemainingSeconds": -1}}', b'{"trainerStatus": {"metrics": {}}}',
        b'{"trainerStatus": {"progressPercentage": ' + b"9" * 5000 + b"}}",
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_without_being_quoted(body: bytes) -> None:
    with pytest.raises(BadReport) as refusal:
        read_report(body, NOON)
    assert len(str(refusal.value)) < 80
