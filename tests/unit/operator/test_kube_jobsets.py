"""What a JobSet is doing, told as a Job: from the set, its Job and the pods."""

from typing import Any

import pytest

from plumbline_api.reasons import Reason
from plumbline_operator.kube.workloads.jobsets import job_set_state
from plumbline_operator.observed import JOB_SET, JobPhase, JobState
from tests.support import build
from tests.support.kubeobjects import (
    Raw,
    condition,
    ended,
    indexed,
    job,
    node,
    reason_of,
    running,
    summary_text,
    words_of,
)

FAILED = condition("Failed", reason="FailJobSetAction", message="jobset failed due to FailJobSet failure policy action")
SPENT = condition("Failed", reason="ReachedMaxRestarts", message="jobset failed due to reaching max number of restarts")


def job_set(*conditions: Raw, restarts: int = 0, counted: int | None = None, suspend: bool = False) -> Raw:
    made = job(*conditions, uid="set-1", suspend=suspend)
    status = {"conditions": list(conditions), "restarts": restarts}
    return made | {"status": status | {"restartsCountTowardsMax": restarts if counted is None else counted}}


def child(*conditions: Raw, attempt: int = 0, uid: str = "job-1", **status: Any) -> Raw:
    made = indexed(job(*conditions, uid=uid, **status), 2)
    made["metadata"] |= {"name": "base-s0-n-0", "ownerReferences": [{"uid": "set-1", "controller": True}]}
    made["metadata"]["labels"] = {"jobset.sigs.k8s.io/restart-attempt": str(attempt)}
    return made


def look(thing: Raw, jobs: tuple[Raw, ...], *pods: Raw, after: float = 5) -> JobState:
    state = job_set_state(thing, jobs, pods, None, build.later(after))
    assert (state.name, state.kind) == ("base-s0", JOB_SET)
    return state


def test_a_set_is_as_far_as_its_job() -> None:
    assert look(job_set(), (child(),), node(0, running()), node(1)).phase == JobPhase.PENDING
    assert look(job_set(), (child(),), node(0, running()), node(1, running())).phase == JobPhase.RUNNING


def test_a_set_without_a_job_waits_and_says_after_a_while_who_should_make_it() -> None:
    assert look(job_set(), ()).problem is None
    state = look(job_set(), (), after=120)
    assert (state.phase, reason_of(state), state.waiting_since) == (
        JobPhase.PENDING,
        Reason.PODS_NOT_CREATED,
        build.NOON,
    )
    assert "JobSet controller" in words_of(state)


def test_a_set_that_its_queue_holds_waits_for_it_without_a_deadline() -> None:
    held = job_set(suspend=True)
    held["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"
    state = look(held, (child(),), after=9000)
    assert (state.phase, reason_of(state), state.waiting_since) == (JobPhase.PENDING, Reason.QUEUE_PENDING, None)
    assert "JobSet base-s0 waits for queue gpus" in words_of(state)


def test_the_summary_of_the_first_node_makes_a_success() -> None:
    done = node(0, ended(0, message=summary_text()))
    state = look(job_set(condition("Completed")), (child(condition("Complete")),), done)
    assert (state.phase, state.summary) == (JobPhase.SUCCEEDED, build.training_summary("made"))


@pytest.mark.parametrize("jobs", [(), (child(condition("Complete")),)], ids=["no Job", "no pods"])
def test_a_success_of_which_nothing_is_left_is_none(jobs: tuple[Raw, ...]) -> None:
    state = look(job_set(condition("Completed")), jobs)
    assert (state.phase, reason_of(state)) == (JobPhase.FAILED, Reason.REPORT_INVALID)


def test_the_end_of_its_job_is_not_yet_the_end_of_the_set() -> None:
    failed = child(condition("Failed", reason="BackoffLimitExceeded"))
    state = look(job_set(), (failed,), node(1, ended(70)))
    assert (state.phase, state.problem, state.summary) == (JobPhase.RUNNING, None, None)


def test_a_set_that_begins_anew_has_begun_before() -> None:
    again = job_set(restarts=1)
    for jobs in ((), (child(attempt=1, uid="job-2"),)):
        state = look(again, jobs, after=9000)
        assert (state.phase, state.waiting_since) == (JobPhase.RUNNING, None)


def test_the_job_of_the_newest_attempt_counts() -> None:
    old, new = child(condition("Failed"), attempt=0), child(attempt=1, uid="job-2")
    pods = [node(index, running(), owner="job-2") for index in range(2)]
    assert look(job_set(restarts=1), (new, old), *pods).problem is None


def test_a_fatal_end_is_told_with_its_node() -> None:
    failed = child(condition("Failed", reason="PodFailurePolicy"))
    state = look(job_set(FAILED), (failed,), node(0, ended(75)), node(1, ended(65)))
    assert (state.phase, reason_of(state)) == (JobPhase.FAILED, Reason.BAD_DATA)
    assert "node 1 (of 0 to 1)" in words_of(state)


def test_spent_restarts_are_told_with_their_number() -> None:
    failed = child(condition("Failed", reason="BackoffLimitExceeded"), attempt=4)
    state = look(job_set(SPENT, restarts=4, counted=3), (failed,), node(1, ended(70)))
    assert reason_of(state) == Reason.BACKOFF_EXCEEDED
    assert "attempt 4, the last" in words_of(state)


@pytest.mark.parametrize(("ended_by", "reason"), [(SPENT, Reason.BACKOFF_EXCEEDED), (FAILED, Reason.INTERNAL_ERROR)])
def test_a_failure_of_which_nothing_is_left_is_told_in_the_sets_words(ended_by: Raw, reason: Reason) -> None:
    state = look(job_set(ended_by), ())
    assert (state.phase, reason_of(state)) == (JobPhase.FAILED, reason)
    assert ended_by["message"] in words_of(state)


def test_jobs_of_an_earlier_set_of_its_name_are_passed_over() -> None:
    old = child()
    old["metadata"]["ownerReferences"][0]["uid"] = "set-0"
    assert look(job_set(), (old,), node(0, running()), node(1, running())).phase == JobPhase.PENDING
