"""NetworkPolicies: nothing reaches a pod of ours but clients its guard, and pods of one Job each other. Pure.

A pod reaches what the settings declare.

Called by the kinds. A policy is named after its content: a changed one is made beside the old, which then goes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from plumbline_api.model import digest_of
from plumbline_api.names import child_name
from plumbline_operator.decision import Child
from plumbline_operator.observed import ChildRef, Key, Runtime
from plumbline_operator.plan.pods import Manifest, labels

__all__ = ["NETWORK_POLICY", "plan_gang_policy", "plan_guard_policy", "plan_job_policy", "reaches_dns"]

NETWORK_POLICY: Final = "NetworkPolicy"
_DNS: Final = 53


def plan_job_policy(key: Key, runtime: Runtime) -> tuple[Child, ...]:
    """For pods of Jobs: nothing in, and out what the settings declare; none where they declare nothing."""
    if runtime.egress is None:
        return ()
    endpoint = runtime.status_endpoint
    return (_policy(key, runtime, [], also=() if endpoint is None else endpoint.egress),)


def plan_guard_policy(key: Key, runtime: Runtime, port: int) -> Child:
    """For served pods: the guard's port in, from anywhere; the engine's stays shut."""
    return _policy(key, runtime, [{"ports": [{"port": port, "protocol": "TCP"}]}])


def plan_gang_policy(key: Key, members: Mapping[str, str], runtime: Runtime) -> Child:
    """For pods that train together, found by their labels: each other in and, beside what is declared, out.

    It is made in any case: other than the pods of other Jobs, these listen.
    """
    peers = [{"podSelector": {"matchLabels": dict(members)}}]
    spec: Manifest = {
        "podSelector": {"matchLabels": dict(members)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers}],
    }
    if runtime.egress is not None:
        spec |= {"policyTypes": ["Ingress", "Egress"], "egress": [{"to": peers}]}
    return _named(key, "gang", spec)


def reaches_dns(runtime: Runtime) -> bool:
    """Whether the declared ways out include one to a name server, at its usual port."""
    if runtime.egress is None:
        return True
    # A rule without ports is one for all of them.
    return any(_is_dns(port) for rule in runtime.egress for port in rule.get("ports") or [{"protocol": "UDP"}])


def _is_dns(port: Mapping[str, Any]) -> bool:
    first = port.get("port", _DNS)
    # A port may have a name, of which only its pods know the number.
    covered = not isinstance(first, int) or first <= _DNS <= port.get("endPort", first)
    return bool(covered and port.get("protocol", "TCP") == "UDP")


def _policy(key: Key, runtime: Runtime, ingress: list[Manifest], *, also: Sequence[Mapping[str, Any]] = ()) -> Child:
    own = labels(key.kind, key.name)
    spec: Manifest = {"podSelector": {"matchLabels": own}, "policyTypes": ["Ingress"], "ingress": ingress}
    if runtime.egress is not None:
        spec |= {"policyTypes": ["Ingress", "Egress"], "egress": [dict(rule) for rule in (*runtime.egress, *also)]}
    return _named(key, "net", spec)


def _named(key: Key, role: str, spec: Manifest) -> Child:
    name = child_name(key.name, role, digest_of(spec))
    manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": NETWORK_POLICY,
        "metadata": {"name": name, "namespace": key.namespace, "labels": labels(key.kind, key.name)},
        "spec": spec,
    }
    return Child(ChildRef(NETWORK_POLICY, name), manifest)
