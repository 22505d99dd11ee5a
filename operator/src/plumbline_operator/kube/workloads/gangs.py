"""Pods of one Job, node by node: which are there, which have begun, what keeps any of them, which one ended it. Pure.

Called by states. A Job of one pod is a gang of one; messages name a node only where there are several.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from plumbline_operator.exits import FATAL_EXIT_CODES
from plumbline_operator.kube.workloads.obstacles import Obstacle, find_ailing_sidecar, find_obstacle, late_from
from plumbline_operator.kube.workloads.podends import explain_disruption, worker_of
from plumbline_operator.kube.workloads.rawobjects import Raw, is_true, part
from plumbline_operator.observed import Problem

__all__ = ["Gang", "gang_of"]

_INDEX: Final = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Gang:
    """The pods of each node, oldest first."""

    nodes: tuple[tuple[Raw, ...], ...]

    @property
    def complete(self) -> bool:
        """Whether every node has begun to work, be it in an earlier pod."""
        return all(any(_has_begun(pod) for pod in pods) for pods in self.nodes)

    def late_from(self, since: datetime) -> datetime | None:
        """From when on what has not begun is late; None while a pod's model is being fetched."""
        found = [late_from(pods[-1], since) for pods in self.nodes if pods]
        return None if None in found else max((moment for moment in found if moment is not None), default=since)

    @property
    def absent(self) -> tuple[int, ...]:
        """Nodes for which there is no pod."""
        return tuple(index for index, pods in enumerate(self.nodes) if not pods)

    def disruption(self) -> Problem | None:
        """What ended the last pod that worked, of any node, from outside.

        Where one is ended from outside the others lose their peer, so what the cluster did is told before that.
        """
        found = []
        for index, pods in enumerate(self.nodes):
            begun = [pod for pod in pods if _has_begun(pod)]
            problem = explain_disruption(begun[-1]) if begun else None
            if problem is not None:
                found.append((not is_true(begun[-1], "DisruptionTarget"), index, problem))
        if not found:
            return None
        _, index, problem = min(found, key=lambda one: one[:2])
        return self._named(index, problem)

    def obstacle(self, now: datetime) -> Obstacle | None:
        """The worst that keeps a node's newest pod from its work: one that will not pass, or else the first."""
        found = []
        for index, pods in enumerate(self.nodes):
            obstacle = _obstacle(pods[-1], now) if pods else None
            if obstacle is not None:
                found.append((not obstacle.hopeless, index, obstacle))
        if not found:
            return None
        _, index, obstacle = min(found, key=lambda one: one[:2])
        return replace(obstacle, problem=self._named(index, obstacle.problem))

    def ended(self) -> tuple[Raw, ...]:
        """Pods that failed by themselves, the one that decided last.

        Of several nodes, an end that no other try mends decides before all others, then the node that failed most
        often, then the one that was first. What the Job controller ends for their sake is being deleted.
        """
        failed = [[pod for pod in pods if part(pod, "status").get("phase") == "Failed"] for pods in self.nodes]
        counted = [[pod for pod in pods if explain_disruption(pod) is None] for pods in failed]
        if len(self.nodes) == 1:
            return tuple(counted[0] or failed[0])
        own = [[pod for pod in pods if "deletionTimestamp" not in part(pod, "metadata")] for pods in counted]
        fatal = [pod for pods in own for pod in pods if _exit_code(pod) in FATAL_EXIT_CODES]
        if fatal:
            return (min(fatal, key=_ended_at),)
        best: list[list[Raw]] = next((kind for kind in (own, counted, failed) if any(kind)), [])
        worst = min([pods for pods in best if pods], key=_blame, default=None)
        return tuple(worst or ())

    def told(self, pod: Raw, fact: str) -> str:
        """A fact about a pod, with its node."""
        index = next(index for index, pods in enumerate(self.nodes) if pod in pods)
        return self._named_text(index, fact)

    def _named(self, index: int, problem: Problem) -> Problem:
        return replace(problem, message=self._named_text(index, problem.message))

    def _named_text(self, index: int, text: str) -> str:
        count = len(self.nodes)
        return text if count == 1 else f"node {index} (of 0 to {count - 1}): {text}"


def gang_of(job: Raw, own: Sequence[Raw]) -> Gang:
    """The pods of a Job by node.

    Args:
        job: The Job.
        own: Its pods, oldest first.
    """
    spec = part(job, "spec")
    if spec.get("completionMode") != "Indexed":
        return Gang((tuple(own),))
    count = int(spec.get("completions") or 1)
    return Gang(tuple(tuple(pod for pod in own if _index(pod) == index) for index in range(count)))


def _index(pod: Raw) -> int:
    return int(part(pod, "metadata", "labels").get(_INDEX, -1))


def _obstacle(pod: Raw, now: datetime) -> Obstacle | None:
    return find_ailing_sidecar(pod) if _has_begun(pod) else find_obstacle(pod, now)


def _has_begun(pod: Raw) -> bool:
    worker = worker_of(pod)
    state = part(worker, "state")
    return "running" in state or "terminated" in state or bool(part(worker, "lastState"))


def _exit_code(pod: Raw) -> int:
    return int(part(worker_of(pod), "state", "terminated").get("exitCode", 0))


def _blame(pods: list[Raw]) -> tuple[int, str]:
    """Sorts the node that failed most often, and then the one that did so first, to the front."""
    return -len(pods), _ended_at(pods[-1])


def _ended_at(pod: Raw) -> str:
    """Times of the API are texts that sort as they are."""
    return str(part(worker_of(pod), "state", "terminated").get("finishedAt", ""))
