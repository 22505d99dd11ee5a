"""What keeps the pods of a Job from starting: each fault with its own reason and the next action."""

import pytest

from plumbline_api.names import CONTAINER_ENGINE
from plumbline_api.reasons import Reason
from plumbline_operator.observed import JobPhase
from tests.support.kubeobjects import condition, job, look, obstructed, pod, reason_of, waiting, words_of

SCHEDULED = condition("PodScheduled")
UNMOUNTED = condition("PodReadyToStartContainers", "False")


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


@pytest.mark.parametrize("registry", ["registry", "denied.site/401", "tls.timeout.site"])
@pytest.mark.parametrize("digest", ["0ded2e0320d28af4403", "2b44e401", "404"])
def test_the_names_of_an_image_say_nothing_of_why_it_cannot_be_pulled(registry: str, digest: str) -> None:
    image = f"{registry}/worker@sha256:{digest}"
    asked = f'Head "https://{registry}/v2/worker/manifests/sha256:{digest}"'
    refused = f'failed to resolve reference "{image}": failed to do request: {asked}: dial tcp: connection refused'
    made = pod(waiting("ErrImagePull", refused))
    made["spec"]["containers"][0]["image"] = image
    assert words_of(look(job(), made)).endswith("the registry cannot be reached; check its name and the network")


def test_a_name_that_is_no_images_will_never_be_pulled() -> None:
    state = look(job(), pod(waiting("InvalidImageName", "couldn't parse image name")))
    assert (reason_of(state), state.hopeless) == (Reason.IMAGE_PULL_FAILED, True)


def test_a_lack_of_gpus_is_told_by_the_name_of_the_resource_and_without_counts_of_nodes() -> None:
    message = (
        "0/3 nodes are available: 1 node(s) had untolerated taint {example.org/gpu: yes}, "
        "2 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No preemption victims found."
    )
    state = look(job(), obstructed(message, requests={"nvidia.com/gpu": "2"}))
    assert (state.phase, reason_of(state)) == (JobPhase.PENDING, Reason.UNSCHEDULABLE)
    assert "no node has enough nvidia.com/gpu left (2 asked for)" in words_of(state)
    assert "nodes have the taint example.org/gpu, which spec.compute.tolerations does not name" in words_of(state)
    assert "0/3" not in words_of(state)


@pytest.mark.parametrize("why", ["not-ready", "unreachable", "unschedulable", "disk-pressure"])
def test_nodes_that_cannot_take_pods_are_no_matter_of_tolerations(why: str) -> None:
    message = f"0/1 nodes are available: 1 node(s) had untolerated taint {{node.kubernetes.io/{why}: }}."
    state = look(job(), obstructed(message))
    assert f"nodes cannot take pods at the moment ({why})" in words_of(state)
    assert "tolerations" not in words_of(state)


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


def test_a_pod_that_is_set_up_for_minutes_is_told_without_a_guess_at_the_cause() -> None:
    stuck = pod(waiting("ContainerCreating"), conditions=(SCHEDULED, UNMOUNTED))
    assert look(job(), stuck, after=200).problem is None
    state = look(job(), stuck, after=400)
    assert reason_of(state) == Reason.NOT_STARTED
    assert "says which" in words_of(state)


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


def test_pods_that_are_counted_and_not_seen_yet_are_not_missed() -> None:
    state = look(job(active=1), after=9000)
    assert (state.phase, state.problem, state.waiting_since) == (JobPhase.PENDING, None, None)


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
