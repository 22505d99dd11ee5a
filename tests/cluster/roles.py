"""Roles of the operator's users: exactly what the operator says that it needs, or less."""

from typing import Any

from plumbline_operator.kube.permissions import NEEDED, NEEDED_FOR_LEASE, Permission
from tests.cluster.client import KubeClient, Resource, eventually

__all__ = ["give_role"]

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", namespaced=False)
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")


async def give_role(
    kube: KubeClient, namespace: str, user: str, *left_out: Permission, more: tuple[Permission, ...] = ()
) -> None:
    """Let a user do exactly what the table says, less some of it, and more; done when the API server goes by it."""
    given = [one for one in (*NEEDED, *NEEDED_FOR_LEASE, *more) if one not in left_out]
    rules = [
        {"apiGroups": [one.group], "resources": [one.resource], "verbs": [one.verb]}
        | ({"resourceNames": [one.name]} if one.name else {})
        for one in given
    ]
    await kube.apply(ROLES, _body("Role", rules=rules), namespace, force=True)
    binding: dict[str, Any] = {
        "roleRef": {"apiGroup": ROLES.group, "kind": "Role", "name": "operator"},
        "subjects": [{"apiGroup": ROLES.group, "kind": "User", "name": user}],
    }
    await kube.apply(BINDINGS, _body("RoleBinding", **binding), namespace, force=True)
    expected = dict.fromkeys((given[0], *more), True) | dict.fromkeys(left_out, False)

    async def is_in_force() -> bool:
        return all([await _may(kube, namespace, user, one) is may for one, may in expected.items()])

    await eventually(is_in_force)


async def _may(kube: KubeClient, namespace: str, user: str, what: Permission) -> bool:
    resource, _, part = what.resource.partition("/")
    asked = {"namespace": namespace, "group": what.group, "resource": resource, "subresource": part, "verb": what.verb}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    review = {**body, "spec": {"user": user, "resourceAttributes": asked | {"name": what.name}}}
    return bool((await kube.create(REVIEWS, review))["status"]["allowed"])


def _body(kind: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "operator"}, **more}
