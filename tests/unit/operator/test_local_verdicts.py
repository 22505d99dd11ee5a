"""What the end of a Job means, in words that name the place and hold nothing of the log."""

import json
from pathlib import Path

import pytest

from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_operator.local.podplan import Cause, PodResult, log_file, progress_file, termination_file
from plumbline_operator.local.retries import GiveUp
from plumbline_operator.local.verdicts import (
    explain_failure,
    explain_missing_summary,
    read_progress,
    read_summary,
)
from plumbline_operator.observed import Problem
from tests.support import build


def explain(attempt: Path, code: int, cause: Cause = Cause.EXITED, summary: Summary | None = None) -> Problem:
    last = PodResult(cause, "worker", code, 0.0, 1.0, "")
    return explain_failure(GiveUp(last), attempt, summary, attempts=1)


@pytest.mark.parametrize(
    ("code", "cause", "reason", "words"),
    [
        (64, Cause.EXITED, Reason.BAD_SPEC, "ended with 64"),
        (65, Cause.EXITED, Reason.BAD_DATA, "ended with 65"),
        (69, Cause.EXITED, Reason.DEPENDENCY_UNAVAILABLE, "ended with 69"),
        (70, Cause.EXITED, Reason.INTERNAL_ERROR, "ended with 70"),
        (139, Cause.EXITED, Reason.INTERNAL_ERROR, "was killed by signal 11"),
        (137, Cause.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, "raise compute.memory"),
        (143, Cause.DEADLINE, Reason.DEADLINE_EXCEEDED, "raise timeout"),
        (0, Cause.PROBE_FAILED, Reason.DEPENDENCY_UNAVAILABLE, "did not come up"),
        (70, Cause.NOT_STARTED, Reason.BAD_CONFIGURATION, "could not be started"),
    ],
)
def test_each_end_has_its_reason(tmp_path: Path, code: int, cause: Cause, reason: Reason, words: str) -> None:
    problem = explain(tmp_path, code, cause)
    assert problem.reason == reason
    assert words in problem.message


def test_the_message_names_the_last_line_of_the_log_and_not_what_it_says(tmp_path: Path) -> None:
    log = log_file(tmp_path, "worker")
    log.parent.mkdir()
    log.write_text("one\ntwo\nsecret\n")
    message = explain(tmp_path, 70).message
    assert message.endswith(f"log: {log}:3")
    assert "secret" not in message


def test_a_summary_of_failure_gives_reason_and_message(tmp_path: Path) -> None:
    summary = Summary(result=Result.FAILED, reason=Reason.DIGEST_MISMATCH, message="model: damaged; import it again")
    problem = explain(tmp_path, 65, summary=summary)
    assert problem.reason == Reason.DIGEST_MISMATCH
    assert problem.message.startswith("model: damaged; import it again")


def test_a_summary_of_success_does_not_excuse_a_failure(tmp_path: Path) -> None:
    assert explain(tmp_path, 70, summary=build.training_summary("x")).reason == Reason.INTERNAL_ERROR


def test_long_messages_are_cut_and_keep_the_place(tmp_path: Path) -> None:
    summary = Summary(result=Result.FAILED, reason=Reason.BAD_DATA, message="x" * 512)
    assert len(explain(tmp_path, 65, summary=summary).message) < 1024


def test_an_unreadable_summary_is_told_by_field_and_not_by_content(tmp_path: Path) -> None:
    path = termination_file(tmp_path, "worker")
    path.parent.mkdir()
    path.write_text(json.dumps({"result": "secret words"}))
    assert read_summary(tmp_path, "worker") is None
    problem = explain_missing_summary(tmp_path, "worker")
    assert problem.reason == Reason.REPORT_INVALID
    assert "cannot be read (result: enum)" in problem.message
    assert "secret" not in problem.message


def test_a_missing_summary_is_told(tmp_path: Path) -> None:
    assert "left no summary" in explain_missing_summary(tmp_path, "worker").message


def test_progress_is_the_last_whole_line(tmp_path: Path) -> None:
    assert read_progress(tmp_path, "worker") is None
    path = progress_file(tmp_path, "worker")
    path.parent.mkdir()
    line = '{"progressPercentage": %d, "lastUpdatedTime": "2026-01-31T12:00:00Z"}'
    path.write_text(f"{line % 1}\n{line % 2}\nnot json\n{line % 3}")
    found = read_progress(tmp_path, "worker")
    assert found is not None
    assert found.progress_percentage == 2
