"""Progress lines: never silent, never more than four a second, with what is left of the time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plumbline_api.progress import Progress
from plumbline_store import FileReporter, Silence
from plumbline_trainer.progress import ProgressLog


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def lines(path: Path) -> list[Progress]:
    return [Progress.read(line) for line in path.read_text().splitlines()]


def texts(line: Progress) -> dict[str, str]:
    return {metric.name: metric.value for metric in line.metrics}


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_steps_tell_percentage_time_left_and_the_last_numbers(tmp_path: Path, clock: Clock) -> None:
    log = ProgressLog(FileReporter(tmp_path / "p"), clock)
    for step in range(1, 6):
        clock.move(2)
        log.step(step, 10, {"loss": 1 / step, "rewards/margins": 0.25, "epoch": 3.0} if step == 4 else None)
    last = lines(tmp_path / "p")[-1]
    assert (last.progress_percentage, last.estimated_remaining_seconds) == (50, 8)
    assert texts(last) == {
        "phase": "training", "step": "5", "maxSteps": "10", "loss": "0.25", "rewards/margins": "0.25",
    }  # fmt: skip


def test_quick_steps_write_about_four_lines_a_second_and_always_the_last(tmp_path: Path, clock: Clock) -> None:
    log = ProgressLog(FileReporter(tmp_path / "p"), clock)
    for step in range(1, 101):
        clock.move(0.01)
        log.step(step, 100)
    found = lines(tmp_path / "p")
    assert len(found) <= 6
    assert texts(found[-1])["step"] == "100"


def test_a_phase_is_told_at_once_and_its_counting_is_not_too_often(tmp_path: Path, clock: Clock) -> None:
    log = ProgressLog(FileReporter(tmp_path / "p"), clock)
    log.phase("checking data")
    log.phase("loading model")
    log.phase("computing reference", 8, 16)
    clock.move(1)
    log.phase("computing reference", 16, 16)
    assert [texts(line) for line in lines(tmp_path / "p")] == [
        {"phase": "checking data"},
        {"phase": "loading model"},
        {"phase": "computing reference", "done": "16", "total": "16"},
    ]


def test_a_phase_after_training_does_not_fall_back_to_zero(tmp_path: Path, clock: Clock) -> None:
    log = ProgressLog(FileReporter(tmp_path / "p"), clock)
    log.step(10, 10)
    log.phase("publishing")
    assert lines(tmp_path / "p")[-1].progress_percentage == 100


def test_a_resumed_stage_counts_its_time_from_where_it_resumed(tmp_path: Path, clock: Clock) -> None:
    log = ProgressLog(FileReporter(tmp_path / "p"), clock)
    log.step(91, 100)
    clock.move(10)
    log.step(95, 100)
    assert lines(tmp_path / "p")[-1].estimated_remaining_seconds == 10


def test_nothing_is_written_where_nobody_looks(tmp_path: Path, clock: Clock) -> None:
    ProgressLog(Silence(), clock).step(1, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_display_that_cannot_be_written_to_does_not_stop_training(tmp_path: Path, clock: Clock) -> None:
    log = ProgressLog(FileReporter(tmp_path / "absent" / "p"), clock)
    log.phase("checking data")
    log.step(1, 2)
