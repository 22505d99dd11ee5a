"""What a cluster's Jobs are doing and how they ended, from the objects of the API."""

from typing import Any

import pytest

from plumbline_api.names import CONTAINER_ENGINE
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_operator.observed import JobPhase
from tests.support import build
from tests.support.kubeobjects import (
    Raw,
    condition,
    ended,
    job,
    look,
    pod,
    reason_of,
    running,
    summary_text,
    waiting,
    words_of,
)

COMPLETE = condition("Complete")
BACKOFF = condition("Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit")


def failed_by(policy: str) -> Raw:
    return condition("Failed", reason="PodFailurePolicy", message=policy)


def disrupted(why: str) -> Raw:
    return condition("DisruptionTarget", reason=why)


def good(message: str | None = None, **more: Any) -> Raw:
    return pod(ended(0, message=summary_text() if message is None else message), **more)


# Life


def test_a_new_job_is_pending_and_says_since_when() -> None:
    state = look(job())
    assert (state.phase, state.problem, state.waiting_since) == (JobPhase.PENDING, None, build.NOON)


def test_a_job_runs_once_its_worker_does_and_waits_no_more() -> None:
    state = look(job(active=1), pod(running()))
    assert (state.phase, state.problem, state.waiting_since) == (JobPhase.RUNNING, None, None)


def test_a_running_sidecar_is_no_work_yet() -> None:
    engine = running(CONTAINER_ENGINE)
    assert look(job(), pod(waiting("PodInitializing"), sidecars=(engine,))).phase == JobPhase.PENDING


def test_a_job_that_failed_once_and_then_succeeded_is_a_success() -> None:
    first, second = pod(ended(70), name="one", born=0), good(name="two", born=20)
    state = look(job(COMPLETE, failed=1, succeeded=1), second, first)
    assert state.phase == JobPhase.SUCCEEDED
    assert state.summary == build.training_summary("made")


@pytest.mark.parametrize("kind", ["SuccessCriteriaMet", "FailureTarget"])
def test_an_announced_end_is_no_end(kind: str) -> None:
    assert look(job(condition(kind)), pod(ended(0, message=summary_text()))).phase == JobPhase.RUNNING


@pytest.mark.parametrize("counters", [{"failed": 9}, {"succeeded": 1}, {"active": 0, "failed": 4}])
def test_counters_end_nothing(counters: dict[str, Any]) -> None:
    assert look(job(**counters), pod(ended(1))).phase == JobPhase.RUNNING


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_condition_that_is_not_true_ends_nothing(status: str) -> None:
    assert look(job(condition("Failed", status)), pod(running())).phase == JobPhase.RUNNING


def test_pods_of_an_earlier_job_of_the_same_name_are_passed_over() -> None:
    old = pod(running(), owner="job-0")
    assert look(job(uid="job-1"), old).phase == JobPhase.PENDING


def test_a_job_that_is_being_deleted_says_so() -> None:
    going = job()
    going["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:03Z"
    assert look(going, pod(running())).deleting


# Summaries


def test_the_summary_is_the_newest_succeeded_pods() -> None:
    old = build.training_summary("old")
    first = pod(ended(0, message=summary_text(old)), name="a", born=0)
    state = look(job(COMPLETE), good(name="b", born=9), first)
    assert state.summary == build.training_summary("made")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", "left no summary"),
        ('{"result": "secret words"}', r"cannot be read (result: enum)"),
        ("no JSON at all", "cannot be read"),
        (summary_text(Summary(result=Result.FAILED)), "does not say that it succeeded"),
        (summary_text()[:-9], "cannot be read"),
    ],
    ids=["missing", "wrong", "senseless", "another result", "cut"],
)
def test_a_success_without_a_summary_that_says_so_is_none(message: str, words: str) -> None:
    state = look(job(COMPLETE), good(message))
    assert (state.phase, reason_of(state), state.summary) == (JobPhase.FAILED, Reason.REPORT_INVALID, None)
    assert words in words_of(state)
    assert "secret" not in words_of(state)


def test_a_success_whose_pod_is_gone_is_told_with_the_remedy() -> None:
    state = look(job(COMPLETE, succeeded=1))
    assert (state.phase, reason_of(state)) == (JobPhase.FAILED, Reason.REPORT_INVALID)
    assert "retry" in words_of(state)


# Failures


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (64, Reason.BAD_SPEC),
        (65, Reason.BAD_DATA),
        (77, Reason.NOT_PERMITTED),
        (78, Reason.BAD_CONFIGURATION),
    ],
)
def test_a_fatal_exit_code_is_its_reason_with_the_pod_and_without_it(code: int, reason: Reason) -> None:
    message = f"Container worker for pod default/p failed with exit code {code} matching FailJob rule at index 1"
    with_pod = look(job(failed_by(message)), pod(ended(code)))
    without = look(job(failed_by(message)))
    assert reason_of(with_pod) == reason_of(without) == reason
    assert "kubectl logs -n default base-s0-abcde -c worker" in words_of(with_pod)
    assert "gone" in words_of(without)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(69, Reason.DEPENDENCY_UNAVAILABLE), (70, Reason.BACKOFF_EXCEEDED), (1, Reason.BACKOFF_EXCEEDED)],
)
def test_spent_retries_are_told_with_the_reason_of_the_last_attempt(code: int, reason: Reason) -> None:
    tries = [pod(ended(code), name=f"p{number}", born=number) for number in range(4)]
    state = look(job(BACKOFF), *tries)
    assert reason_of(state) == reason
    assert "attempt 4, the last" in words_of(state)


def test_spent_retries_are_told_where_no_pod_is_left() -> None:
    assert reason_of(look(job(BACKOFF))) == Reason.BACKOFF_EXCEEDED


def test_the_summary_of_a_failure_gives_its_reason_and_words() -> None:
    told = Summary(result=Result.FAILED, reason=Reason.DIGEST_MISMATCH, message="model: damaged; import it again")
    state = look(job(BACKOFF), pod(ended(65, message=summary_text(told))))
    assert reason_of(state) == Reason.DIGEST_MISMATCH
    assert words_of(state).startswith("model: damaged; import it again")
    assert state.summary == told


def test_a_failure_whose_summary_gives_no_reason_has_that_of_its_exit_code() -> None:
    told = Summary(result=Result.FAILED, message="data.jsonl:7: no answer")
    state = look(job(BACKOFF), pod(ended(65, message=summary_text(told))))
    assert reason_of(state) == Reason.BAD_DATA
    assert words_of(state).startswith("data.jsonl:7: no answer")


def test_the_summary_of_a_success_does_not_excuse_a_failure() -> None:
    assert reason_of(look(job(BACKOFF), pod(ended(70, message=summary_text())))) == Reason.INTERNAL_ERROR


def test_memory_is_told_before_anything_else() -> None:
    killed = pod(ended(137, "OOMKilled"))
    assert reason_of(look(job(BACKOFF), killed)) == Reason.OUT_OF_MEMORY
    assert "raise spec.compute.memory" in words_of(look(job(BACKOFF), killed))


def test_a_sidecar_that_ran_out_of_memory_is_what_ended_the_worker() -> None:
    starved = running(CONTAINER_ENGINE, last={"exitCode": 137, "reason": "OOMKilled"}, restarts=1)
    told = Summary(result=Result.FAILED, reason=Reason.DEPENDENCY_UNAVAILABLE, message="the engine is gone")
    state = look(job(BACKOFF), pod(ended(69, message=summary_text(told)), sidecars=(starved,)))
    assert reason_of(state) == Reason.OUT_OF_MEMORY
    assert "container engine" in words_of(state)


def test_a_deadline_is_one_whatever_the_pods_say() -> None:
    late = condition("Failed", reason="DeadlineExceeded", message="Job was active longer than specified deadline")
    for pods in ([], [pod(ended(143))], [pod(ended(65))]):
        assert reason_of(look(job(late), *pods)) == Reason.DEADLINE_EXCEEDED


def test_a_pod_that_took_too_much_disk_was_evicted_by_its_own_fault() -> None:
    text = 'Usage of EmptyDir volume "work" exceeds the limit "1Gi".'
    state = look(job(BACKOFF), pod(ended(137), reason="Evicted", message=text))
    assert reason_of(state) == Reason.EVICTED
    assert "raise the limit that its namespace sets" in words_of(state)
    assert text in words_of(state)


def test_a_program_that_the_image_lacks_is_a_bad_configuration() -> None:
    message = 'exec: "plumbline-trainer": executable file not found in $PATH'
    state = look(job(BACKOFF), pod(ended(128, "StartError", message)))
    assert reason_of(state) == Reason.BAD_CONFIGURATION
    assert "executable file not found" in words_of(state)


def test_a_pod_that_its_node_refused_is_told_in_the_nodes_words() -> None:
    refused = pod(phase="Failed", reason="UnexpectedAdmissionError", message="Allocate failed due to no GPU")
    assert "no GPU" in words_of(look(job(BACKOFF), refused))


def test_the_last_attempt_that_counted_is_told_and_not_the_disrupted_one_after_it() -> None:
    counted = pod(ended(65), name="a", born=0)
    drained = pod(ended(137), name="b", born=9, conditions=(disrupted("EvictionByEvictionAPI"),))
    assert reason_of(look(job(BACKOFF), counted, drained)) == Reason.BAD_DATA


# Disruptions


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("PreemptionByScheduler", Reason.PREEMPTED),
        ("EvictionByEvictionAPI", Reason.EVICTED),
        ("TerminationByKubelet", Reason.EVICTED),
        ("DeletionByTaintManager", Reason.NODE_LOST),
        ("DeletionByPodGC", Reason.NODE_LOST),
        ("SomethingNew", Reason.PREEMPTED),
    ],
)
def test_a_disruption_is_told_and_fails_nothing(why: str, reason: Reason) -> None:
    state = look(job(), pod(ended(137), conditions=(disrupted(why),)))
    assert (state.phase, reason_of(state), state.preempted) == (JobPhase.RUNNING, reason, True)


def test_exit_75_asks_for_another_attempt() -> None:
    state = look(job(), pod(ended(75)))
    assert (state.phase, reason_of(state), state.preempted) == (JobPhase.RUNNING, Reason.PREEMPTED, True)


def test_a_disruption_is_over_when_the_next_attempt_works() -> None:
    first = pod(ended(75), name="a", born=0)
    state = look(job(), first, pod(running(), name="b", born=9))
    assert (state.phase, state.problem, state.preempted) == (JobPhase.RUNNING, None, False)


def test_a_second_attempt_that_cannot_start_says_why_and_has_no_deadline() -> None:
    first = pod(ended(75), name="a", born=0)
    state = look(job(), first, pod(waiting("ErrImagePull", "not found"), name="b", born=9), after=9000)
    assert (state.phase, reason_of(state), state.waiting_since) == (JobPhase.RUNNING, Reason.IMAGE_PULL_FAILED, None)
