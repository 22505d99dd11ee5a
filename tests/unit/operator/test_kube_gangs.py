"""What a Job of several nodes is doing, from its pods: none begins alone, and each fault names its node."""

from typing import Any

import pytest

from plumbline_api.reasons import Reason
from plumbline_operator.observed import JobPhase, JobState
from tests.support import build
from tests.support.kubeobjects import (
    Raw,
    condition,
    ended,
    indexed,
    job,
    look,
    node,
    reason_of,
    running,
    summary_text,
    waiting,
    words_of,
)

SPENT = condition("Failed", reason="MaxFailedIndexesExceeded")
FATAL = condition("Failed", reason="PodFailurePolicy", message="Container worker for pod p failed with exit code 65")
NO_IMAGE = waiting("ErrImagePull", "not found")


def three(*pods: Raw, conditions: tuple[Raw, ...] = (), after: float = 5, **status: Any) -> JobState:
    return look(indexed(job(*conditions, **status), 3), *pods, after=after)


def lost(index: int, **more: Any) -> Raw:
    return node(index, ended(75), **more)


def test_a_job_is_pending_until_every_node_has_begun() -> None:
    begun = node(0, running()), node(1, running())
    state = three(*begun, node(2), active=3)
    assert (state.phase, state.waiting_since) == (JobPhase.PENDING, build.NOON)
    state = three(*begun, node(2, running()), active=3)
    assert (state.phase, state.waiting_since, state.problem) == (JobPhase.RUNNING, None, None)


def test_the_node_that_cannot_begin_is_named() -> None:
    state = three(node(0, running()), node(1, NO_IMAGE), node(2, running()))
    assert (state.phase, reason_of(state)) == (JobPhase.PENDING, Reason.IMAGE_PULL_FAILED)
    assert words_of(state).startswith("node 1 (of 0 to 2): image ")


def test_what_will_not_pass_is_told_before_what_may() -> None:
    invalid = waiting("InvalidImageName", "couldn't parse image")
    state = three(node(0, NO_IMAGE), node(1), node(2, invalid))
    assert state.hopeless
    assert words_of(state).startswith("node 2 ")


def test_a_node_without_a_pod_is_told_after_a_while() -> None:
    pods = node(0, running()), node(2, running())
    assert three(*pods, active=2).problem is None
    assert reason_of(three(*pods, active=2, after=120)) == Reason.PODS_NOT_CREATED
    assert three(*pods, active=3, after=120).problem is None


def test_a_lost_node_is_told_and_not_those_that_lost_it() -> None:
    gone = node(2, ended(137), conditions=(condition("DisruptionTarget", reason="DeletionByTaintManager"),))
    state = three(lost(0), lost(1), gone)
    assert (state.phase, reason_of(state), state.preempted) == (JobPhase.RUNNING, Reason.NODE_LOST, True)
    assert words_of(state).startswith("node 2 ")


def test_a_disruption_is_over_when_all_nodes_work_again() -> None:
    again = [node(index, running(), name=f"again-{index}", born=90) for index in range(3)]
    state = three(*(lost(index) for index in range(3)), *again[:2])
    assert (state.phase, reason_of(state)) == (JobPhase.RUNNING, Reason.PREEMPTED)
    state = three(*(lost(index) for index in range(3)), *again)
    assert (state.phase, state.problem, state.preempted) == (JobPhase.RUNNING, None, False)


def test_the_summary_is_that_of_the_first_node() -> None:
    done = node(0, ended(0, message=summary_text()))
    others = [node(index, ended(0, message=summary_text(build.training_summary("other")))) for index in (1, 2)]
    state = three(*others, done, conditions=(condition("Complete"),))
    assert (state.phase, state.summary) == (JobPhase.SUCCEEDED, build.training_summary("made"))


def test_a_success_without_the_first_nodes_pod_is_none() -> None:
    other = node(1, ended(0, message=summary_text()))
    assert reason_of(three(other, conditions=(condition("Complete"),))) == Reason.REPORT_INVALID


def test_the_first_end_that_no_try_mends_is_why_a_job_failed() -> None:
    first, later = node(2, ended(65, at=60)), node(1, ended(78, at=61))
    state = three(lost(0), later, first, node(0, ended(143, at=62)), conditions=(FATAL,))
    assert reason_of(state) == Reason.BAD_DATA
    assert "node 2 (of 0 to 2)" in words_of(state)
    assert "-c worker" in words_of(state)


def test_what_the_job_controller_ended_is_not_why_a_job_failed() -> None:
    going = node(0, ended(143, at=59))
    going["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:59Z"
    tries = [node(1, ended(1, at=60 + at), name=f"try-{at}", born=at) for at in range(4)]
    state = three(going, lost(2), *tries, conditions=(SPENT,))
    assert reason_of(state) == Reason.BACKOFF_EXCEEDED
    assert "node 1 (of 0 to 2)" in words_of(state)
    assert "attempt 4, the last" in words_of(state)


def test_nodes_that_fail_together_are_told_by_the_first_and_counted_once() -> None:
    tries = [
        node(index, ended(70, at=60 * number), name=f"{index}-{number}", born=number)
        for number in range(2)
        for index in range(3)
    ]
    words = words_of(three(*tries, conditions=(SPENT,)))
    assert words.startswith("node 0 ")
    assert "attempt 2, the last" in words


def test_the_node_that_failed_most_often_is_why_the_tries_are_spent() -> None:
    once = node(0, ended(1, at=1))
    often = [node(2, ended(69, at=60 + at), name=f"try-{at}", born=at) for at in range(4)]
    state = three(once, *often, conditions=(SPENT,))
    assert reason_of(state) == Reason.DEPENDENCY_UNAVAILABLE
    assert words_of(state).startswith("node 2 ")


@pytest.mark.parametrize("code", [1, 70])
def test_a_counted_end_before_the_last_try_says_nothing_yet(code: int) -> None:
    state = three(node(0, running()), node(1, ended(code)), lost(2))
    assert (state.phase, reason_of(state)) == (JobPhase.RUNNING, Reason.PREEMPTED)
