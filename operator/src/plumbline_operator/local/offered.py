"""What a manifest may say in local mode: what is done, what makes no difference on one machine, and nothing else.

Called by `podspec` and `jobs`; pure. A field that stands in neither list is refused, so that nothing is quietly left
out; docs/local-mode.md tells both lists.
"""

from collections.abc import Mapping
from typing import Any, Final

from plumbline_api.reasons import Reason
from plumbline_operator.observed import Problem

__all__ = ["Unplannable", "check_job", "check_pod"]

_JOB: Final = frozenset(
    {"template", "backoffLimit", "podFailurePolicy", "activeDeadlineSeconds"}
    # One attempt follows another here anyway, and the cores of the machine are the only queue.
    | {"podReplacementPolicy", "suspend"}
)
_INDEXED: Final = frozenset(
    # Several nodes are as many groups of processes, which begin and end together.
    {"completionMode", "completions", "parallelism", "backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"}
)
_POD: Final = frozenset(
    {"containers", "initContainers", "volumes", "terminationGracePeriodSeconds", "restartPolicy"}
    # Processes run on this machine, as the user who started them, without a cluster's services, registry and tokens.
    | {"securityContext", "automountServiceAccountToken", "serviceAccountName", "enableServiceLinks"}
    | {"imagePullSecrets", "nodeSelector", "tolerations", "subdomain"}
)
_CONTAINER: Final = frozenset(
    {"name", "command", "args", "env", "ports", "resources", "volumeMounts", "restartPolicy"}
    | {"startupProbe", "readinessProbe"}
    # The programs are those that are installed, and they have the rights of the user who started them.
    | {"image", "securityContext"}
)
_RESOURCES: Final = frozenset({"cpu", "memory"})


class Unplannable(Exception):
    """The pod asks for something that this machine does not have."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem

    @classmethod
    def because(cls, who: str, what: str) -> "Unplannable":
        """It is not offered at all."""
        message = f"{who} asks for {what}, which local mode does not offer; run it on a cluster"
        return cls(Problem(Reason.UNSUPPORTED_BY_RUNTIME, message))


def check_job(spec: Mapping[str, Any]) -> None:
    """Raise Unplannable where a Job asks for what is not offered."""
    for field in sorted(set(spec) - (_JOB | _INDEXED if spec.get("completionMode") == "Indexed" else _JOB)):
        raise Unplannable.because("the Job", field)


def check_pod(spec: Mapping[str, Any]) -> None:
    """Raise Unplannable where a pod asks for what is not offered."""
    for field in sorted(set(spec) - _POD):
        raise Unplannable.because("the pod", field)
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        who = f"container {container['name']}"
        for field in sorted(set(container) - _CONTAINER):
            raise Unplannable.because(who, field)
        limits = container.get("resources", {}).get("limits", {})
        for resource in sorted(set(limits) - _RESOURCES):
            raise Unplannable.because(who, f"{limits[resource]} {resource}")
