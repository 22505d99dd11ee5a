"""Builders of Jobs, pods and Deployments as an API server sends them: each names only what its case is about."""

from typing import Any

from plumbline_api.model import canonical_json, format_time
from plumbline_api.names import CONTAINER_WORKER, LABEL_QUEUE
from plumbline_api.reasons import Reason
from plumbline_api.report import Summary
from plumbline_operator.kube.workloads.states import job_state
from plumbline_operator.observed import DeploymentState, JobState
from tests.support.build import later, training_summary

Raw = dict[str, Any]

__all__ = [
    "condition", "container", "deployment", "ended", "indexed", "job", "look", "node", "obstructed", "pod",
    "reason_of", "running", "service", "summary_text", "waiting", "words_of",
]  # fmt: skip


def summary_text(summary: Summary | None = None) -> str:
    """A termination message."""
    return canonical_json(summary or training_summary("made")).decode()


def indexed(thing: Raw, nodes: int) -> Raw:
    """A Job as one of several nodes."""
    return thing | {"spec": thing["spec"] | {"completionMode": "Indexed", "completions": nodes, "parallelism": nodes}}


def node(index: int, *containers: Raw, **more: Any) -> Raw:
    """The pod of a node."""
    labels = {"batch.kubernetes.io/job-completion-index": str(index)}
    return pod(*containers, **{"name": f"base-s0-{index}-abcde", "labels": labels, **more})


def condition(kind: str, status: str = "True", reason: str = "", message: str = "", at: float = 0) -> Raw:
    """A condition of a Job, pod or Deployment."""
    made = {"type": kind, "status": status, "lastTransitionTime": format_time(later(at))}
    return made | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def job(*conditions: Raw, uid: str = "job-1", suspend: bool = False, queue: str = "", **status: Any) -> Raw:
    """A Job that has been started at noon."""
    labels = {"app.kubernetes.io/managed-by": "plumbline"} | ({LABEL_QUEUE: queue} if queue else {})
    metadata = {"name": "base-s0", "namespace": "default", "uid": uid, "labels": labels}
    return {
        "metadata": metadata | {"creationTimestamp": format_time(later(0))},
        "spec": {"suspend": suspend},
        "status": {"startTime": format_time(later(0)), "conditions": list(conditions)} | status,
    }


def container(name: str = CONTAINER_WORKER, *, last: Raw | None = None, restarts: int = 0, **state: Raw) -> Raw:
    """The status of a container in one state: running, waiting or terminated."""
    made = {"name": name, "ready": "running" in state, "restartCount": restarts, "image": f"registry/{name}"}
    return made | {"state": state} | ({"lastState": {"terminated": last}} if last else {})


def running(name: str = CONTAINER_WORKER, **more: Any) -> Raw:
    """A container at work."""
    return container(name, running={"startedAt": format_time(later(1))}, **more)


def waiting(reason: str, message: str = "", name: str = CONTAINER_WORKER, **more: Any) -> Raw:
    """A container that the kubelet has not started."""
    return container(name, waiting={"reason": reason} | ({"message": message} if message else {}), **more)


def ended(code: int, reason: str = "", message: str = "", name: str = CONTAINER_WORKER, at: float = 60) -> Raw:
    """A container that has ended, so many seconds after noon."""
    how = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "message": message}
    return container(name, terminated=how | {"finishedAt": format_time(later(at))})


def pod(
    *containers: Raw,
    name: str = "base-s0-abcde",
    owner: str = "job-1",
    born: float = 0,
    conditions: tuple[Raw, ...] = (),
    sidecars: tuple[Raw, ...] = (),
    labels: dict[str, str] | None = None,
    requests: dict[str, str] | None = None,
    **status: Any,
) -> Raw:
    """A pod; its phase follows from its containers unless it is given."""
    states = [one["state"] for one in containers]
    over = bool(states) and all("terminated" in state for state in states)
    good = over and all(state["terminated"]["exitCode"] == 0 for state in states)
    working = any("running" in state for state in states)
    phase = "Succeeded" if good else "Failed" if over else "Running" if working else "Pending"
    metadata: Raw = {"name": name, "namespace": "default", "creationTimestamp": format_time(later(born))}
    metadata |= {"labels": labels or {}, "ownerReferences": [{"uid": owner, "controller": True}]}
    named = [one["name"] for one in containers] or [CONTAINER_WORKER]
    spec = [{"name": one, "image": f"registry/{one}", "resources": {"requests": requests or {}}} for one in named]
    facts = {"phase": phase, "conditions": list(conditions), "containerStatuses": list(containers)}
    facts |= {"initContainerStatuses": list(sidecars)} if sidecars else {}
    return {"metadata": metadata, "spec": {"nodeName": "node-1", "containers": spec}, "status": facts | status}


def obstructed(message: str, **more: Any) -> Raw:
    """A pod that no node takes."""
    return pod(conditions=(condition("PodScheduled", "False", "Unschedulable", message),), **more)


def deployment(*conditions: Raw, revision: str = "r1") -> Raw:
    """A Deployment of one revision."""
    metadata = {"name": "served-serve-1", "namespace": "default", "creationTimestamp": format_time(later(0))}
    spec = {"selector": {"matchLabels": {"revision": revision}}}
    return {"metadata": metadata, "spec": spec, "status": {"conditions": list(conditions)}}


def service(port: int = 80) -> Raw:
    """The Service in front of the guards."""
    return {"metadata": {"name": "served-guard", "namespace": "default"}, "spec": {"ports": [{"port": port}]}}


def look(thing: Raw, *pods: Raw, after: float = 5) -> JobState:
    """The state of a Job so many seconds after noon."""
    return job_state(thing, pods, None, later(after))


def reason_of(state: JobState | DeploymentState) -> Reason:
    """The reason of a problem that there must be."""
    assert state.problem is not None
    return state.problem.reason


def words_of(state: JobState | DeploymentState) -> str:
    """The message of a problem that there must be."""
    assert state.problem is not None
    return state.problem.message
