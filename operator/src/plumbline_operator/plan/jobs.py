"""A Job around a pod: how often it is tried, what fails it at once, what does not count, which queue admits it. Pure.

Called by plan.stages and plan.evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plumbline_api import names
from plumbline_api.compute import Queue
from plumbline_operator.exits import FATAL_EXIT_CODES
from plumbline_operator.observed import Runtime
from plumbline_operator.plan.pods import Manifest, PodPlan, pod_template

__all__ = ["GRACE_SECONDS", "JobPlan", "job"]

GRACE_SECONDS: Final = 60
"""Enough for a training step and its checkpoint."""
_BACKOFF_LIMIT: Final = 3


@dataclass(frozen=True)
class JobPlan:
    """What distinguishes one Job from another."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    pod: PodPlan
    deadline_seconds: int | None = None
    queue: Queue | None = None


def job(plan: JobPlan, runtime: Runtime) -> Manifest:
    """The Job. A disruption is looked for first: a node that runs full may also make a program fail for good."""
    spec: Manifest = {
        "backoffLimit": _BACKOFF_LIMIT,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [names.ExitCode.PREEMPTED]}},
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": sorted(FATAL_EXIT_CODES)}},
            ]
        },
        "template": {**pod_template(plan.pod, runtime)},
    }
    spec["template"]["spec"]["restartPolicy"] = "Never"
    if plan.deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = plan.deadline_seconds
    if plan.queue is not None:
        # As Kueue would make it, so that it waits also where Kueue is not there yet; from then on it is Kueue's.
        spec["suspend"] = True
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": plan.name,
            "namespace": plan.namespace,
            "labels": {**plan.labels, **_queue_labels(plan.queue)},
        },
        "spec": spec,
    }


def _queue_labels(queue: Queue | None) -> dict[str, str]:
    """Labels of the Job and never of its pods, which Kueue would queue a second time."""
    if queue is None:
        return {}
    priority = {} if queue.priority_class is None else {names.LABEL_QUEUE_PRIORITY: queue.priority_class}
    return {names.LABEL_QUEUE: queue.name, **priority}
