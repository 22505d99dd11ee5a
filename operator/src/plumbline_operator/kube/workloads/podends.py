"""What the end of a pod or container means: exit codes, memory, eviction, lost nodes. Pure; called by states."""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from plumbline_api.names import CONTAINER_WORKER, ExitCode
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_operator.exits import reason_of_exit
from plumbline_operator.kube.workloads.rawobjects import Raw, condition, containers_of, is_true, name_of, part
from plumbline_operator.observed import Problem

__all__ = [
    "explain_disruption", "explain_end", "explain_failed_pod", "failed_container", "last_end", "log_of", "short",
    "worker_of",
]  # fmt: skip

_MOST_QUOTED: Final = 300


def short(text: str) -> str:
    """A text of the cluster, on one line and cut."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_QUOTED else line[: _MOST_QUOTED - 1] + "\N{HORIZONTAL ELLIPSIS}"


def log_of(pod: Raw, container: str) -> str:
    """How a person reads the log of a container."""
    namespace = part(pod, "metadata").get("namespace", "default")
    return f"`kubectl logs -n {namespace} {name_of(pod)} -c {container}`"


def worker_of(pod: Raw) -> Raw:
    """The status of the container that does a Job's work; an empty one before the kubelet has written one."""
    return next((one for one in containers_of(pod) if one.get("name") == CONTAINER_WORKER), {})


def last_end(container: Raw) -> Raw | None:
    """How a container ended last, where it ever has."""
    return part(container, "state").get("terminated") or part(container, "lastState").get("terminated")


def explain_end(pod: Raw, container: Raw, ended: Raw) -> tuple[Reason, str]:
    """The reason and the fact of a container's end."""
    where = f"container {container.get('name')} of pod {name_of(pod)}"
    code, how = int(ended.get("exitCode", 0)), str(ended.get("reason", ""))
    if how == "OOMKilled":
        return Reason.OUT_OF_MEMORY, f"{where} exceeded its memory limit; raise spec.compute.memory"
    if how in ("StartError", "ContainerCannotRun"):
        return Reason.BAD_CONFIGURATION, f"{where} could not be started ({short(str(ended.get('message', '')))})"
    if how == "ContainerStatusUnknown":
        return Reason.NODE_LOST, f"what became of {where} is not known: its node was lost"
    if code > 128:
        return reason_of_exit(code), f"{where} was killed by signal {code - 128}"
    told = _told(ended)
    if told is None:
        return reason_of_exit(code), f"{where} ended with {code}"
    return (reason_of_exit(code) if told.reason == Reason.SUCCEEDED else told.reason), f"{where}: {told.message}"


def _told(ended: Raw) -> Summary | None:
    """What a container left as the reason of its failure; None where it left nothing of the kind."""
    try:
        summary = Summary.read(str(ended.get("message", "")))
    except ValidationError:
        return None
    return summary if summary.result == Result.FAILED and summary.message else None


def failed_container(pod: Raw) -> Raw | None:
    """The container that decided a failed pod's end, as far as any did: it starved, or else the worker, or another."""
    ends = [(container, ended) for container in containers_of(pod) if (ended := last_end(container)) is not None]
    starved = [container for container, ended in ends if _starved(ended)]
    bad = [container for container, ended in ends if ended.get("exitCode")]
    working = [container for container in bad if container.get("name") == CONTAINER_WORKER]
    return next(iter([*starved, *working, *bad]), None)


def _starved(ended: Raw) -> bool:
    return ended.get("reason") == "OOMKilled"


def explain_failed_pod(pod: Raw) -> tuple[Reason, str]:
    """The reason and the fact of a failed pod, from whichever container decided it."""
    chosen = failed_container(pod)
    ended = (None if chosen is None else last_end(chosen)) or {}
    status = part(pod, "status")
    why, text = str(status.get("reason", "")), short(str(status.get("message", "")))
    if chosen is not None and not (why == "Evicted" and not _starved(ended)):
        return explain_end(pod, chosen, ended)
    if why == "Evicted":
        remedy = "raise the limit that its namespace sets, or give its node more room"
        return Reason.EVICTED, f"pod {name_of(pod)} took more than it may ({text}); {remedy}"
    if why == "DeadlineExceeded":
        return Reason.DEADLINE_EXCEEDED, f"pod {name_of(pod)} ran longer than it may"
    return Reason.INTERNAL_ERROR, f"pod {name_of(pod)} failed ({why or 'no reason given'}: {text or 'no message'})"


_DISRUPTIONS: Final[Mapping[str, tuple[Reason, str]]] = {
    "PreemptionByScheduler": (Reason.PREEMPTED, "made room for a pod of higher priority"),
    "EvictionByEvictionAPI": (Reason.EVICTED, "was evicted, as when its node {node} is drained"),
    "TerminationByKubelet": (Reason.EVICTED, "was ended by its node {node}, which runs short or shuts down"),
    "DeletionByTaintManager": (Reason.NODE_LOST, "had to leave its node {node}, which is out of reach or closed"),
    "DeletionByPodGC": (Reason.NODE_LOST, "is lost with its node {node}"),
}


def explain_disruption(pod: Raw) -> Problem | None:
    """Why a pod was ended from outside, or asked to be resumed; None where it was not. Neither is a failure."""
    if is_true(pod, "DisruptionTarget"):
        why = str((condition(pod, "DisruptionTarget") or {}).get("reason", ""))
        reason, words = _DISRUPTIONS.get(why, (Reason.PREEMPTED, "was ended from outside"))
        words = words.format(node=part(pod, "spec").get("nodeName", "(unknown)"))
        return Problem(reason, f"pod {name_of(pod)} {words}; another one takes its place")
    ended = part(worker_of(pod), "state").get("terminated") or {}
    if ended.get("exitCode") == ExitCode.PREEMPTED:
        return Problem(Reason.PREEMPTED, f"pod {name_of(pod)} was told to stop; another one takes its place")
    return None
