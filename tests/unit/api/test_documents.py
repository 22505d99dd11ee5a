"""Documents: strict, frozen, canonical; scalars and names mean what they say."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from pydantic import ValidationError

from plumbline_api.artifact import File, Manifest, MediaType
from plumbline_api.model import canonical_json, digest_of, format_time
from plumbline_api.names import child_name, port_variable
from plumbline_api.progress import Metric, Progress
from plumbline_api.scalars import parse_duration, parse_quantity
from plumbline_api.sources import ModelSource

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_the_canonical_form_does_not_depend_on_order() -> None:
    assert canonical_json({"b": 1, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'.encode()
    assert digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})


def test_a_document_is_read_by_its_wire_names_only() -> None:
    data = {"progressPercentage": 3, "lastUpdatedTime": "2026-01-31T12:00:00Z"}
    assert Progress.parse(data).dump() == {**data, "metrics": []}
    with pytest.raises(ValidationError, match="Extra inputs"):
        Progress.parse({"progress_percentage": 3, "lastUpdatedTime": "2026-01-31T12:00:00Z"})


@pytest.mark.parametrize("value", ["3", 3.5, None, True])
def test_a_number_is_a_number(value: object) -> None:
    with pytest.raises(ValidationError):
        Progress.parse({"progressPercentage": value, "lastUpdatedTime": "2026-01-31T12:00:00Z"})


def test_a_document_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Progress(last_updated_time=NOON).progress_percentage = 4  # type: ignore[misc]  # that is the test


def test_times_are_utc_and_need_a_zone() -> None:
    assert format_time(NOON.astimezone(timezone(timedelta(hours=2)))) == "2026-01-31T12:00:00Z"
    with pytest.raises(ValidationError, match="a time needs a zone"):
        Progress.parse({"lastUpdatedTime": "2026-01-31T12:00:00"})


def test_a_progress_report_gives_its_numbers() -> None:
    progress = Progress(last_updated_time=NOON, metrics=(Metric(name="loss", value="0.5"), Metric(name="x", value="?")))
    assert (progress.number("loss"), progress.number("x"), progress.number("y")) == (0.5, None, None)


def test_exactly_one_arm_of_a_union_is_set() -> None:
    assert ModelSource.parse({"run": {"name": "a"}}).chosen == "run"
    for data in ({}, {"run": {"name": "a"}, "file": {"path": "b"}}):
        with pytest.raises(ValidationError, match="give exactly one of file, run"):
            ModelSource.parse(data)


@pytest.mark.parametrize("path", ["/a", "a/../b", "./a", "a//b", "a\\b", "..", ""])
def test_a_file_of_an_artifact_stays_inside(path: str) -> None:
    with pytest.raises(ValidationError):
        File(path=path, sha256="0" * 64, size=0)


def test_files_of_a_manifest_are_sorted_and_unique() -> None:
    first, second = (File(path=path, sha256="0" * 64, size=0) for path in "ab")
    for files in ((second, first), (first, first), ()):
        with pytest.raises(ValidationError):
            Manifest(media_type=MediaType.MODEL, files=files)


def test_durations_and_quantities() -> None:
    assert [parse_duration(text) for text in ("1h30m", "90s", "2m")] == [5400, 90, 120]
    assert [parse_quantity(text) for text in ("500m", "2", "1.5Gi", "3k")] == [
        Decimal("0.5"), Decimal(2), Decimal(1610612736), Decimal(3000),
    ]  # fmt: skip
    for text in ("", "h", "1d", "-3s"):
        with pytest.raises(ValueError, match="is not a duration"):
            parse_duration(text)
    for text in ("", "x", "1X", "Gi"):
        with pytest.raises(ValueError, match="is not a quantity"):
            parse_quantity(text)


def test_names_of_children_are_computed_and_short() -> None:
    name = child_name("a" * 40, "evaluation-of-subject", "content")
    assert len(name) <= 63
    assert name == child_name("a" * 40, "evaluation-of-subject", "content")
    assert name != child_name("a" * 40, "evaluation-of-subject", "other")
    assert port_variable("my-port") == "PLUMBLINE_PORT_MY_PORT"
