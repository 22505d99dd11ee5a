"""When a Job is done, and when it is tried again."""

from typing import Any

import pytest

from plumbline_operator.local.podplan import Cause, PodResult
from plumbline_operator.local.retries import Again, GiveUp, Succeeded, decide_next
from tests.port.place import job_child

SPEC: dict[str, Any] = dict(job_child()[1].manifest["spec"])


def ended(code: int = 0, cause: Cause = Cause.EXITED, *, container: str = "worker", at: float = 10.0) -> PodResult:
    return PodResult(cause, container, code, at - 10.0, at)


def decide(*results: PodResult, **spec: Any) -> Succeeded | GiveUp | Again:
    return decide_next({**SPEC, **spec}, results, first=1.0, longest=8.0)


def test_a_new_job_starts_at_once() -> None:
    assert decide() == Again(0.0, None)


def test_exit_code_0_is_success() -> None:
    assert decide(ended(70), ended(0)) == Succeeded()


def test_success_after_being_told_to_stop_is_success_too() -> None:
    assert decide(ended(75, Cause.STOPPED), ended(0)) == Succeeded()


@pytest.mark.parametrize("code", [64, 65, 77, 78])
def test_fatal_exit_codes_are_not_tried_again(code: int) -> None:
    assert decide(ended(code)) == GiveUp(ended(code))


@pytest.mark.parametrize("code", [1, 69, 70, 137, 139])
def test_other_exit_codes_are_tried_again_until_the_limit(code: int) -> None:
    assert decide(ended(code)) == Again(11.0, None)
    assert decide(*[ended(code)] * 3) == Again(14.0, None)
    assert decide(*[ended(code)] * 4) == GiveUp(ended(code), exhausted=True)


def test_delays_double_up_to_the_longest() -> None:
    waits = [decide(*[ended(69)] * count, backoffLimit=100) for count in (1, 2, 3, 4, 5, 6)]
    assert [wait.at - 10.0 for wait in waits if isinstance(wait, Again)] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_preempted_attempts_do_not_count() -> None:
    assert isinstance(decide(*[ended(75)] * 50), Again)


@pytest.mark.parametrize("cause", [Cause.STOPPED, Cause.LOST])
def test_disrupted_attempts_do_not_count_and_resume_at_once(cause: Cause) -> None:
    assert decide(ended(137, cause), backoffLimit=0) == Again(10.0, None)


def test_pods_that_are_lost_again_and_again_wait_longer() -> None:
    assert decide(*[ended(137, Cause.LOST)] * 3) == Again(12.0, None)


def test_a_policy_for_one_container_leaves_others_alone() -> None:
    codes = {"containerName": "worker", "operator": "In", "values": [65]}
    rules = [{"action": "FailJob", "onExitCodes": codes}]
    assert isinstance(decide(ended(65, container="engine"), podFailurePolicy={"rules": rules}), Again)


def test_an_engine_that_cannot_serve_what_it_was_given_is_not_tried_again() -> None:
    assert decide(ended(65, container="engine")) == GiveUp(ended(65, container="engine"))


def test_not_in_matches_all_other_codes() -> None:
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0, 42]}}]
    assert isinstance(decide(ended(42), podFailurePolicy={"rules": rules}), Again)
    assert isinstance(decide(ended(43), podFailurePolicy={"rules": rules}), GiveUp)


def test_running_out_of_memory_counts_as_a_failure() -> None:
    assert isinstance(decide(ended(137, Cause.OUT_OF_MEMORY)), Again)
    assert isinstance(decide(ended(137, Cause.OUT_OF_MEMORY), backoffLimit=0), GiveUp)


def test_a_program_that_cannot_be_started_is_not_tried_again() -> None:
    assert isinstance(decide(ended(70, Cause.NOT_STARTED)), GiveUp)


def test_the_deadline_is_for_the_time_of_all_attempts() -> None:
    assert decide(ended(70), activeDeadlineSeconds=25) == Again(11.0, 15.0)
    given_up = decide(ended(70), ended(70), ended(70), activeDeadlineSeconds=25)
    assert isinstance(given_up, GiveUp)
    assert given_up.last.cause == Cause.DEADLINE


def test_time_between_attempts_does_not_count_for_the_deadline() -> None:
    assert decide(ended(75, at=10.0), ended(75, at=100_000.0), activeDeadlineSeconds=25) == Again(100_002.0, 5.0)
