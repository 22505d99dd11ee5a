"""What a cluster's Jobs and Deployments are doing, from the objects of the API: each fault with its own reason."""

from typing import Any

import pytest

from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_GUARD
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_operator.kube.states import deployment_state, job_state
from plumbline_operator.observed import JobPhase, JobState
from tests.support import build, kubeobjects
from tests.support.kubeobjects import Raw, condition, ended, job, obstructed, pod, running, summary_text, waiting

COMPLETE = condition("Complete")
SCHEDULED = condition("PodScheduled")
UNMOUNTED = condition("PodReadyToStartContainers", "False")
BACKOFF = condition("Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit")


def look(job: Raw, *pods: Raw, after: float = 5) -> JobState:
    return job_state(job, pods, None, build.later(after))


def reason_of(state: JobState) -> Reason:
    assert state.problem is not None
    return state.problem.reason


def words_of(state: JobState) -> str:
    assert state.problem is not None
    return state.problem.message


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


# What keeps a pod from starting


@pytest.mark.parametrize(
    ("reason", "message", "words"),
    [
        ("ErrImagePull", 'failed to resolve reference "r/i:1": r/i:1: not found', "there is no such image"),
        (
            "ImagePullBackOff",
            'Back-off pulling image "r/i": ErrImagePull: unexpected status: 401 Unauthorized',
            "secrets",
        ),
        ("ErrImagePull", "dial tcp: lookup registry: no such host", "cannot be reached"),
        ("ErrImagePull", "x509: certificate signed by unknown authority", "not trusted"),
        ("ImagePullBackOff", 'Back-off pulling image "r/i"', "kubectl describe pod"),
        ("ErrImageNeverPull", "Container image is not present with pull policy of Never", "no such image"),
    ],
)
def test_an_image_that_cannot_be_pulled_is_told_while_the_job_is_pending(reason: str, message: str, words: str) -> None:
    state = look(job(), pod(waiting(reason, message)))
    assert (state.phase, reason_of(state), state.hopeless) == (JobPhase.PENDING, Reason.IMAGE_PULL_FAILED, False)
    assert words in words_of(state)
    assert "registry/worker" in words_of(state)


def test_a_name_that_is_no_images_will_never_be_pulled() -> None:
    state = look(job(), pod(waiting("InvalidImageName", "couldn't parse image name")))
    assert (reason_of(state), state.hopeless) == (Reason.IMAGE_PULL_FAILED, True)


def test_a_lack_of_gpus_is_told_by_the_name_of_the_resource_and_without_counts_of_nodes() -> None:
    message = (
        "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: }, 2 Insufficient nvidia.com/gpu. "
        "preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
    )
    state = look(job(), obstructed(message, requests={"nvidia.com/gpu": "2"}))
    assert (state.phase, reason_of(state)) == (JobPhase.PENDING, Reason.UNSCHEDULABLE)
    assert "no node has enough nvidia.com/gpu left (2 asked for)" in words_of(state)
    assert "tolerations" in words_of(state)
    assert "0/3" not in words_of(state)


def test_a_node_selector_that_fits_nothing_is_told_by_its_field() -> None:
    state = look(job(), obstructed("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."))
    assert "spec.compute.nodeSelector" in words_of(state)


def test_what_the_scheduler_says_is_told_where_it_is_nothing_we_know() -> None:
    state = look(job(), obstructed("0/1 nodes are available: 1 Too many pods. preemption: not helpful"))
    assert "Too many pods" in words_of(state)
    assert "preemption" not in words_of(state)


def test_a_missing_volume_claim_is_told_by_its_name() -> None:
    state = look(job(), obstructed('0/1 nodes are available: persistentvolumeclaim "store" not found.'))
    assert reason_of(state) == Reason.VOLUME_MISSING
    assert '"store"' in words_of(state)


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        ('secret "keys" not found', Reason.SECRET_MISSING, "keys does not exist"),
        ("couldn't find key token in Secret default/keys", Reason.SECRET_MISSING, "default/keys has no key token"),
        ('configmap "rules" not found', Reason.NOT_FOUND, "rules does not exist"),
        ("container has runAsNonRoot and image will run as root", Reason.BAD_CONFIGURATION, "runAsNonRoot"),
    ],
)
def test_what_a_container_lacks_is_told_by_kind_and_name(message: str, reason: Reason, words: str) -> None:
    state = look(job(), pod(waiting("CreateContainerConfigError", message)))
    assert reason_of(state) == reason
    assert words in words_of(state)


def test_volumes_that_are_not_mounted_are_told_after_a_minute() -> None:
    stuck = pod(waiting("ContainerCreating"), conditions=(SCHEDULED, UNMOUNTED))
    assert look(job(), stuck, after=30).problem is None
    assert reason_of(look(job(), stuck, after=90)) == Reason.VOLUME_MISSING


def test_a_slow_pull_is_no_problem() -> None:
    ready = condition("PodReadyToStartContainers")
    slow = pod(waiting("ContainerCreating"), conditions=(SCHEDULED, ready))
    assert look(job(), slow, after=900).problem is None


def test_a_sidecar_that_ends_again_and_again_keeps_the_worker_from_starting() -> None:
    back = waiting("CrashLoopBackOff", name=CONTAINER_ENGINE, last={"exitCode": 70, "reason": "Error"}, restarts=1)
    state = look(job(), pod(waiting("PodInitializing"), sidecars=(back,)))
    assert (reason_of(state), state.hopeless) == (Reason.INTERNAL_ERROR, False)
    back["restartCount"] = 3
    assert look(job(), pod(waiting("PodInitializing"), sidecars=(back,))).hopeless


def test_pods_that_are_never_made_are_told_after_a_minute_with_the_place_to_look() -> None:
    assert look(job(), after=59).problem is None
    state = look(job(), after=61)
    assert reason_of(state) == Reason.PODS_NOT_CREATED
    assert "kubectl describe job base-s0" in words_of(state)


def test_a_queued_job_waits_for_its_queue_without_a_deadline() -> None:
    state = look(job(condition("Suspended"), suspend=True, queue="gpus"), after=9000)
    assert (state.phase, reason_of(state), state.waiting_since) == (JobPhase.PENDING, Reason.QUEUE_PENDING, None)
    assert "queue gpus" in words_of(state)


def test_a_job_that_somebody_suspended_says_so() -> None:
    assert reason_of(look(job(suspend=True))) == Reason.SUSPENDED


def test_messages_say_the_same_however_late_it_is() -> None:
    cases = [(job(), obstructed("0/1 nodes are available: 1 Insufficient cpu.")), (job(), pod(waiting("ErrImagePull")))]
    for thing, stuck in cases:
        assert look(thing, stuck, after=100) == look(thing, stuck, after=9000)


# What is served


def served(*containers: Raw, **more: Any) -> Raw:
    return pod(*containers, owner="rs-1", labels={"revision": "r1"}, **more)


def unready(name: str, **more: Any) -> Raw:
    return running(name, **more) | {"ready": False}


def test_a_pod_with_both_ready_serves_at_the_service() -> None:
    pods = [served(running(CONTAINER_GUARD), running(CONTAINER_ENGINE))]
    state = deployment_state(kubeobjects.deployment(), pods, kubeobjects.service(), build.later(5))
    assert (state.engine_ready, state.guard_ready, state.problem) == (True, True, None)
    assert state.endpoint == "http://served-guard.default.svc"


def test_readiness_is_that_of_one_pod_and_not_a_sum_over_several() -> None:
    one = served(running(CONTAINER_GUARD), unready(CONTAINER_ENGINE), name="a")
    other = served(unready(CONTAINER_GUARD), running(CONTAINER_ENGINE), name="b")
    state = deployment_state(kubeobjects.deployment(), [one, other], None, build.later(5))
    assert not (state.engine_ready and state.guard_ready)


def test_pods_of_another_revision_and_pods_that_go_do_not_serve() -> None:
    going = served(running(CONTAINER_GUARD), running(CONTAINER_ENGINE))
    going["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:03Z"
    other = pod(running(CONTAINER_GUARD), running(CONTAINER_ENGINE), labels={"revision": "r0"})
    state = deployment_state(kubeobjects.deployment(), [going, other], None, build.later(5))
    assert (state.engine_ready, state.guard_ready) == (False, False)


def test_what_keeps_a_served_pod_from_starting_is_told_and_may_pass() -> None:
    pods = [served(waiting("ErrImagePull", "not found", name=CONTAINER_ENGINE), running(CONTAINER_GUARD))]
    state = deployment_state(kubeobjects.deployment(), pods, None, build.later(5))
    assert state.problem is not None
    assert (state.problem.reason, state.hopeless) == (Reason.IMAGE_PULL_FAILED, False)
    assert state.waiting_since == build.NOON


def test_an_engine_that_keeps_ending_is_a_problem_also_while_it_is_up_for_a_moment() -> None:
    bad = unready(CONTAINER_ENGINE, last={"exitCode": 65, "reason": "Error"}, restarts=1)
    state = deployment_state(kubeobjects.deployment(), [served(running(CONTAINER_GUARD), bad)], None, build.later(5))
    assert state.problem is not None
    assert (state.problem.reason, state.hopeless) == (Reason.BAD_DATA, True)


def test_a_deployment_tells_why_its_pods_are_refused() -> None:
    text = 'pods "x" is forbidden: exceeded quota: gpus'
    refused = kubeobjects.deployment(condition("ReplicaFailure", reason="FailedCreate", message=text))
    state = deployment_state(refused, [], None, build.later(5))
    assert state.problem is not None
    assert state.problem.reason == Reason.PODS_NOT_CREATED
    assert "exceeded quota" in state.problem.message


def test_the_address_names_a_port_that_is_not_the_usual_one() -> None:
    state = deployment_state(kubeobjects.deployment(), [], kubeobjects.service(8080), build.later(5))
    assert state.endpoint == "http://served-guard.default.svc:8080"
