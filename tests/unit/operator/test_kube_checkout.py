"""The container that checks a model out for an engine: while it works, when it fails, after it has ended."""

import pytest

from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_GUARD, CONTAINER_MODEL, CONTAINER_WORKER
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_operator.kube.workloads.states import deployment_state
from plumbline_operator.observed import JobPhase
from tests.support import build
from tests.support.kubeobjects import (
    Raw,
    condition,
    deployment,
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

NOT_YET = waiting("PodInitializing")
WORDS = "model sha256:0 in s3://models: it is not signed by any trusted key; sign it"


def told(reason: Reason = Reason.SIGNATURE_INVALID) -> str:
    return summary_text(Summary(result=Result.FAILED, reason=reason, message=WORDS))


def test_a_checkout_may_take_as_long_as_the_model_is_large_and_the_engine_counts_from_its_end() -> None:
    state = look(job(active=1), pod(NOT_YET, sidecars=(running(CONTAINER_MODEL),)), after=9000)
    assert (state.phase, state.problem, state.waiting_since) == (JobPhase.PENDING, None, None)
    done = ended(0, name=CONTAINER_MODEL, at=700)
    state = look(job(active=1), pod(NOT_YET, sidecars=(done, waiting("PodInitializing", name=CONTAINER_ENGINE))))
    assert state.waiting_since == build.later(700)


@pytest.mark.parametrize("reason", [Reason.SIGNATURE_INVALID, Reason.DIGEST_MISMATCH])
def test_an_evaluation_whose_model_is_not_given_out_says_why_and_where_its_log_is(reason: Reason) -> None:
    failed = ended(65, message=told(reason), name=CONTAINER_MODEL)
    policy = condition("Failed", reason="PodFailurePolicy", message="Container model failed with exit code 65")
    state = look(job(policy), pod(NOT_YET, sidecars=(failed,), phase="Failed"))
    assert (state.phase, reason_of(state)) == (JobPhase.FAILED, reason)
    assert WORDS in words_of(state)
    assert f"-c {CONTAINER_MODEL}`" in words_of(state)


def test_the_log_of_a_worker_that_failed_is_still_its_own() -> None:
    done = ended(0, name=CONTAINER_MODEL)
    policy = condition("Failed", reason="PodFailurePolicy", message="failed with exit code 64")
    state = look(job(policy), pod(ended(64), sidecars=(done,)))
    assert f"-c {CONTAINER_WORKER}`" in words_of(state)


def served(*sidecars: Raw) -> Raw:
    return pod(waiting("PodInitializing", name=CONTAINER_GUARD), sidecars=sidecars, labels={"revision": "r1"})


def again(code: int, message: str = "") -> Raw:
    """The checkout, waiting for its next attempt after an end."""
    last = ended(code, message=message, name=CONTAINER_MODEL)["state"]["terminated"]
    return waiting("CrashLoopBackOff", name=CONTAINER_MODEL, last=last, restarts=1) | {"ready": False}


def test_a_served_pod_whose_model_is_not_given_out_says_why_and_that_it_will_stay() -> None:
    state = deployment_state(deployment(), [served(again(65, told()))], None, build.later(5))
    assert (reason_of(state), state.hopeless) == (Reason.SIGNATURE_INVALID, True)
    assert WORDS in words_of(state)
    assert words_of(state).endswith(f"-c {CONTAINER_MODEL}`")


def test_a_store_that_did_not_answer_once_may_the_next_time() -> None:
    state = deployment_state(
        deployment(), [served(again(69, told(Reason.DEPENDENCY_UNAVAILABLE)))], None, build.later(5)
    )
    assert (reason_of(state), state.hopeless) == (Reason.DEPENDENCY_UNAVAILABLE, False)


def test_a_checkout_that_is_done_again_after_it_went_well_is_no_problem() -> None:
    last = ended(0, name=CONTAINER_MODEL)["state"]["terminated"]
    anew = running(CONTAINER_MODEL, last=last, restarts=1) | {"ready": False}
    assert deployment_state(deployment(), [served(anew)], None, build.later(5)).problem is None
    done = ended(0, name=CONTAINER_MODEL) | {"restartCount": 1, "ready": True}
    assert look(job(active=1), pod(running(), sidecars=(done, running(CONTAINER_ENGINE)))).problem is None
