"""What the Deployments of a cluster are doing, from the objects of the API."""

from typing import Any

from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_GUARD
from plumbline_api.reasons import Reason
from plumbline_operator.kube.workloads.states import deployment_state
from tests.support import build, kubeobjects
from tests.support.kubeobjects import Raw, condition, pod, reason_of, running, waiting, words_of


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


def test_pods_that_serve_are_counted() -> None:
    up = [served(running(CONTAINER_GUARD), running(CONTAINER_ENGINE), name=name) for name in "ab"]
    down = served(running(CONTAINER_GUARD), unready(CONTAINER_ENGINE), name="c")
    deployment = kubeobjects.deployment() | {"spec": {**kubeobjects.deployment()["spec"], "replicas": 3}}
    state = deployment_state(deployment, [*up, down], None, build.later(5))
    assert (state.ready, state.replicas, state.complete) == (2, 3, False)
    assert deployment_state(
        deployment, [*up, served(*up[0]["status"]["containerStatuses"], name="d")], None, build.NOON
    ).complete


def test_pods_of_another_revision_and_pods_that_go_do_not_serve() -> None:
    going = served(running(CONTAINER_GUARD), running(CONTAINER_ENGINE))
    going["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:03Z"
    other = pod(running(CONTAINER_GUARD), running(CONTAINER_ENGINE), labels={"revision": "r0"})
    state = deployment_state(kubeobjects.deployment(), [going, other], None, build.later(5))
    assert (state.engine_ready, state.guard_ready) == (False, False)


def test_what_keeps_a_served_pod_from_starting_is_told_and_may_pass() -> None:
    pods = [served(waiting("ErrImagePull", "not found", name=CONTAINER_ENGINE), running(CONTAINER_GUARD))]
    state = deployment_state(kubeobjects.deployment(), pods, None, build.later(5))
    assert (reason_of(state), state.hopeless) == (Reason.IMAGE_PULL_FAILED, False)
    assert state.waiting_since == build.NOON


def test_an_engine_that_keeps_ending_is_a_problem_also_while_it_is_up_for_a_moment() -> None:
    bad = unready(CONTAINER_ENGINE, last={"exitCode": 65, "reason": "Error"}, restarts=1)
    state = deployment_state(kubeobjects.deployment(), [served(running(CONTAINER_GUARD), bad)], None, build.later(5))
    assert (reason_of(state), state.hopeless) == (Reason.BAD_DATA, True)


def test_a_deployment_tells_why_its_pods_are_refused() -> None:
    text = 'pods "x" is forbidden: exceeded quota: gpus'
    refused = kubeobjects.deployment(condition("ReplicaFailure", reason="FailedCreate", message=text))
    state = deployment_state(refused, [], None, build.later(5))
    assert reason_of(state) == Reason.PODS_NOT_CREATED
    assert "exceeded quota" in words_of(state)


def test_the_address_names_a_port_that_is_not_the_usual_one() -> None:
    state = deployment_state(kubeobjects.deployment(), [], kubeobjects.service(8080), build.later(5))
    assert state.endpoint == "http://served-guard.default.svc:8080"
