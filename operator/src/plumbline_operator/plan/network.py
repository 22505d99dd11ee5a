"""NetworkPolicies: nothing reaches a pod of ours but clients its guard; it reaches what the settings declare. Pure.

Called by the kinds. A policy is named after its content: a changed one is made beside the old, which then goes.
"""

from typing import Final

from plumbline_api.model import digest_of
from plumbline_api.names import child_name
from plumbline_operator.decision import Child
from plumbline_operator.observed import ChildRef, Key, Runtime
from plumbline_operator.plan.pods import Manifest, labels

__all__ = ["NETWORK_POLICY", "plan_guard_policy", "plan_job_policy"]

NETWORK_POLICY: Final = "NetworkPolicy"


def plan_job_policy(key: Key, runtime: Runtime) -> tuple[Child, ...]:
    """For pods of Jobs: nothing in, and out what the settings declare; none where they declare nothing."""
    return () if runtime.egress is None else (_policy(key, runtime, []),)


def plan_guard_policy(key: Key, runtime: Runtime, port: int) -> Child:
    """For served pods: the guard's port in, from anywhere; the engine's stays shut."""
    return _policy(key, runtime, [{"ports": [{"port": port, "protocol": "TCP"}]}])


def _policy(key: Key, runtime: Runtime, ingress: list[Manifest]) -> Child:
    own = labels(key.kind, key.name)
    spec: Manifest = {"podSelector": {"matchLabels": own}, "policyTypes": ["Ingress"], "ingress": ingress}
    if runtime.egress is not None:
        spec |= {"policyTypes": ["Ingress", "Egress"], "egress": [dict(rule) for rule in runtime.egress]}
    name = child_name(key.name, "net", digest_of(spec))
    manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": NETWORK_POLICY,
        "metadata": {"name": name, "namespace": key.namespace, "labels": own},
        "spec": spec,
    }
    return Child(ChildRef(NETWORK_POLICY, name), manifest)
