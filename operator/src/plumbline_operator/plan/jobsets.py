"""A JobSet around the pods of several nodes: whatever ends one of them, all of them begin anew together. Pure.

Called by plan.stages where the cluster serves JobSets (jobset.sigs.k8s.io). One Job of the set has all the pods. Its
own policy says which ends fail it, the set's policy what follows: the Job is made again, or the set has failed.
"""

from typing import Final

from plumbline_operator.observed import JOB_SET, Runtime
from plumbline_operator.plan.jobs import BACKOFF_LIMIT, JobPlan, failure_policy, indexed, queued, template
from plumbline_operator.plan.pods import Manifest

__all__ = ["API_VERSION", "JOB_OF_SET", "MESSAGE_PATTERNS", "job_set"]

API_VERSION: Final = "jobset.x-k8s.io/v1alpha2"
JOB_OF_SET: Final = "n"
"""The name of the one group of Jobs in a set: names of pods are made from it, and have to be short."""
MESSAGE_PATTERNS: Final = "onJobFailureMessagePatterns"
"""The youngest field that is needed: without it a disruption looks like a fatal end."""


def job_set(plan: JobPlan, runtime: Runtime) -> Manifest:
    """The JobSet.

    A pod that ended with the exit code that asks for another try is replaced by its Job, as in a Job of its own: the
    others, which have lost their peer, end likewise. Failing the Job for it would let a program's crash go uncounted
    whenever the ends of its peers were seen first.
    """
    child = {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": failure_policy(disrupted="FailJob"),
        "template": template(plan, runtime),
        **indexed(plan.nodes),
    }
    if plan.deadline_seconds is not None:
        child["activeDeadlineSeconds"] = plan.deadline_seconds
    spec: Manifest = {
        "network": {"enableDNSHostnames": True, "subdomain": plan.name, "publishNotReadyAddresses": True},
        "failurePolicy": {
            "maxRestarts": BACKOFF_LIMIT,
            # Old and new pods must never meet: they would take each other for peers.
            "restartStrategy": "BlockingRecreate",
            "rules": _RULES,
        },
        "replicatedJobs": [
            {"name": JOB_OF_SET, "replicas": 1, "template": {"metadata": {"labels": dict(plan.labels)}, "spec": child}}
        ],
    }
    return queued({"apiVersion": API_VERSION, "kind": JOB_SET, "spec": spec}, plan)


_RULES: Final = [
    {"name": "late", "action": "FailJobSet", "onJobFailureReasons": ["DeadlineExceeded"]},
    {
        "name": "disrupted",
        "action": "RestartJobSetAndIgnoreMaxRestarts",
        "onJobFailureReasons": ["PodFailurePolicy"],
        # The words of the Job controller for a rule on a pod's condition.
        MESSAGE_PATTERNS: ["has condition DisruptionTarget "],
    },
    {"name": "fatal", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]},
]
"""The first that fits; any other failure of the Job restarts the set, and counts."""
