"""Roles of the operator's users: exactly what the operator says that it needs, or less."""

from typing import Any

from plumbline_operator.kube.permissions import NEEDED, NEEDED_FOR_LEASE, Permission
from tests.cluster.client import KubeClient, Resource

__all__ = ["give_role"]

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")


async def give_role(
    kube: KubeClient, namespace: str, user: str, *left_out: Permission, more: tuple[Permission, ...] = ()
) -> None:
    """Let a user do exactly what the table says, less some of it, and more."""
    rules = [
        {"apiGroups": [one.group], "resources": [one.resource], "verbs": [one.verb]}
        | ({"resourceNames": [one.name]} if one.name else {})
        for one in (*NEEDED, *NEEDED_FOR_LEASE, *more)
        if one not in left_out
    ]
    await kube.apply(ROLES, _body("Role", rules=rules), namespace, force=True)
    binding: dict[str, Any] = {
        "roleRef": {"apiGroup": ROLES.group, "kind": "Role", "name": "operator"},
        "subjects": [{"apiGroup": ROLES.group, "kind": "User", "name": user}],
    }
    await kube.apply(BINDINGS, _body("RoleBinding", **binding), namespace, force=True)


def _body(kind: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "operator"}, **more}
