"""What pods that train together need beside their Job: how they find each other, and that nobody else does. Pure.

Called by plan.stages for stages of several nodes. The environment is that of torch's own launcher.
"""

from typing import Final

from plumbline_api import names
from plumbline_operator.decision import Child
from plumbline_operator.observed import ChildRef, Key, Runtime
from plumbline_operator.plan.jobsets import JOB_OF_SET
from plumbline_operator.plan.network import plan_gang_policy
from plumbline_operator.plan.pods import Manifest, labels, port_env

__all__ = ["PORTS", "join", "plan_gang"]

PORTS: Final = {names.PORT_MASTER: 29500}
"""Where the first waits for the others: the usual port of torch's launcher."""
_INDEX: Final = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def join(worker: Manifest, name: str, nodes: int, *, job_set: bool) -> Manifest:
    """The container as one of several, which knows how many they are, which it is, and where the first is.

    Args:
        worker: A container that declares PORTS.
        name: The Job or JobSet.
        nodes: How many they are.
        job_set: Whether it is a JobSet, whose Job has a name of its own.
    """
    first = f"{name}-{JOB_OF_SET}-0-0" if job_set else f"{name}-0"
    told = {**port_env(PORTS), names.ENV_NODES: str(nodes), names.ENV_MASTER_ADDRESS: f"{first}.{name}"}
    told[names.ENV_MASTER_PORT] = f"$({names.port_variable(names.PORT_MASTER)})"
    env = [{"name": variable, "value": value} for variable, value in told.items()]
    rank = {"name": names.ENV_NODE_RANK, "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}}
    return {**worker, "env": [*worker["env"], *env, rank]}


def plan_gang(key: Key, name: str, runtime: Runtime, *, job_set: bool) -> tuple[Child, ...]:
    """The headless Service that gives the pods their names (a JobSet brings its own), and their NetworkPolicy."""
    policy = plan_gang_policy(key, _members(key, name), runtime)
    return (policy,) if job_set else (_service(key, name), policy)


def _service(key: Key, name: str) -> Child:
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": key.namespace, "labels": labels(key.kind, key.name)},
        "spec": {
            "clusterIP": "None",
            "selector": _members(key, name),
            # They have to find each other before any of them is ready.
            "publishNotReadyAddresses": True,
        },
    }
    return Child(ChildRef("Service", name), manifest)


def _members(key: Key, name: str) -> Manifest:
    """Labels that the pods have and no others."""
    return labels(key.kind, key.name) | {names.LABEL_GANG: name}
