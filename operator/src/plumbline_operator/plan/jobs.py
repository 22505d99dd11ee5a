"""A Job around a pod: how often it is tried, what fails it at once, what does not count, which queue admits it. Pure.

Called by plan.stages and plan.evaluation. Several nodes make it an Indexed Job with a pod for each; plan.jobsets has
the other form of that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plumbline_api import names
from plumbline_api.compute import Queue
from plumbline_operator.exits import FATAL_EXIT_CODES
from plumbline_operator.observed import Runtime
from plumbline_operator.plan.pods import Manifest, PodPlan, pod_template

__all__ = ["BACKOFF_LIMIT", "GRACE_SECONDS", "JobPlan", "failure_policy", "indexed", "job", "queued", "template"]

GRACE_SECONDS: Final = 60
"""Enough for a training step and its checkpoint."""
BACKOFF_LIMIT: Final = 3


@dataclass(frozen=True)
class JobPlan:
    """What distinguishes one Job from another."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    pod: PodPlan
    deadline_seconds: int | None = None
    queue: Queue | None = None
    nodes: int = 1
    """Pods that work together."""


def job(plan: JobPlan, runtime: Runtime) -> Manifest:
    """The Job."""
    spec: Manifest = {
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": failure_policy(disrupted="Ignore"),
        "template": template(plan, runtime),
    }
    if plan.nodes == 1:
        spec["backoffLimit"] = BACKOFF_LIMIT
    else:
        # Tries are counted by node: where one fault ends all pods at once, that is one try and not as many as nodes.
        spec |= {"backoffLimitPerIndex": BACKOFF_LIMIT, "maxFailedIndexes": 0, **indexed(plan.nodes)}
    if plan.deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = plan.deadline_seconds
    return queued({"apiVersion": "batch/v1", "kind": "Job", "spec": spec}, plan)


def template(plan: JobPlan, runtime: Runtime) -> Manifest:
    """The template of the Job's pods."""
    made = pod_template(plan.pod, runtime)
    return {**made, "spec": {**made["spec"], "restartPolicy": "Never"}}


def failure_policy(*, disrupted: str) -> Manifest:
    """What the end of a pod means for its Job.

    A disruption is looked for first: a node that runs full may also make a program fail for good.

    Args:
        disrupted: The action for a pod that was ended from outside.
    """
    return {
        "rules": [
            {"action": disrupted, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [names.ExitCode.PREEMPTED]}},
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": sorted(FATAL_EXIT_CODES)}},
        ]
    }


def indexed(nodes: int) -> Manifest:
    """Fields of a Job with a pod for each node; it has succeeded when the first, which publishes, has."""
    return {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
    }


def queued(made: Manifest, plan: JobPlan) -> Manifest:
    """A Job or JobSet with its metadata, and held back where a queue has to admit it.

    The queue's labels are those of this object and never of its pods, which Kueue would queue a second time.
    """
    labels = dict(plan.labels)
    spec = made["spec"]
    if plan.queue is not None:
        labels[names.LABEL_QUEUE] = plan.queue.name
        if plan.queue.priority_class is not None:
            labels[names.LABEL_QUEUE_PRIORITY] = plan.queue.priority_class
        # As Kueue would make it, so that it waits also where Kueue is not there yet; from then on it is Kueue's.
        spec = {**spec, "suspend": True}
    metadata = {"name": plan.name, "namespace": plan.namespace, "labels": labels}
    return {**made, "metadata": metadata, "spec": spec}
