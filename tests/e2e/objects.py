"""The objects with which a cluster begins: users and their rights, and the Service of the name server."""

from typing import Any

from tests.cluster.client import Object
from tests.cluster.nodenetwork import KUBELET_CLIENT
from tests.e2e.addresses import Addresses

__all__ = ["NAMES_USER", "first_objects"]

NAMES_USER = "plumbline:name-server"
RBAC = "rbac.authorization.k8s.io"
WATCHED = {"": ["endpoints", "services", "pods", "namespaces"], "discovery.k8s.io": ["endpointslices"]}
"""What the name server answers from."""


def first_objects(addresses: Addresses) -> list[Object]:
    """What lets the API server ask kubelets, and pods ask the name server."""
    rules = [{"apiGroups": [group], "resources": kinds, "verbs": ["list", "watch"]} for group, kinds in WATCHED.items()]
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": NAMES_USER}, "rules": rules}
    return [
        role,
        _binding(NAMES_USER, NAMES_USER),
        _binding(KUBELET_CLIENT, "system:kubelet-api-admin"),
        *_name_service(addresses),
    ]


def _binding(user: str, role: str) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }


def _name_service(addresses: Addresses) -> list[Object]:
    name = {"name": "kube-dns", "namespace": "kube-system"}
    ports: list[dict[str, Any]] = [
        {"name": protocol.lower(), "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")
    ]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": name,
        "spec": {"clusterIP": addresses.names, "ports": ports},
    }
    # No selector: the name server is no pod.
    where = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**name, "labels": {"kubernetes.io/service-name": name["name"]}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [addresses.node], "conditions": {"ready": True}}],
    }
    return [service, where]
