"""What the operator must be allowed to do, as one table, and which of it the API server says it is not.

The chart's roles hold exactly this table; a start without one of its rows names the row.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.api.resources import (
    ACCESS_REVIEWS,
    CHILDREN,
    CONFIG_MAPS,
    EVENTS,
    JOB_SETS,
    JOBS,
    LEASES,
    OURS,
    PODS,
    SECRETS,
    TOKEN_REVIEWS,
)

__all__ = [
    "NEEDED", "NEEDED_FOR_JOB_SETS", "NEEDED_FOR_LEASE", "NEEDED_FOR_REVIEWS", "Permission", "find_missing",
    "find_missing_for_job_sets", "needed_for_authority",
]  # fmt: skip

_AT_A_TIME: Final = 20


@dataclass(frozen=True, order=True)
class Permission:
    """A verb on a resource, as a role has it."""

    group: str
    resource: str
    """With its subresource, for example alignmentruns/status."""
    verb: str
    name: str = ""
    """The only object that it is for; empty for all."""

    def __str__(self) -> str:
        what = self.resource + (f" {self.name}" if self.name else "")
        return f"{self.verb} {what}" + (f" (API group {self.group})" if self.group else "")


_ON_OURS: Final = (("", ("get", "list", "watch")), ("/status", ("update",)), ("/finalizers", ("update",)))
"""Finalizers: where the API server enforces it, only who may change them may block an owner's deletion."""


def _permissions() -> tuple[Permission, ...]:
    found = [
        Permission(ours.group, ours.plural + subresource, verb)
        for ours in OURS.values()
        for subresource, verbs in (
            ("", ("get", "list", "watch")),
            ("/status", ("update",)),
            ("/finalizers", ("update",)),
        )
        for verb in verbs
    ]
    for child in CHILDREN.values():
        if child == JOB_SETS:
            continue
        changed = () if child in (JOBS, CONFIG_MAPS) else ("patch",)
        verbs = ("get", "list", "watch", "create", *changed, "delete")
        found += [Permission(child.group, child.plural, verb) for verb in verbs]
    found += [Permission(PODS.group, PODS.plural, verb) for verb in ("list", "watch")]
    found += [Permission(EVENTS.group, EVENTS.plural, verb) for verb in ("create", "patch")]
    return tuple(found)


NEEDED: Final = _permissions()
"""In every namespace that is watched."""
NEEDED_FOR_LEASE: Final = tuple(Permission(LEASES.group, LEASES.plural, verb) for verb in ("get", "create", "update"))
"""In the namespace of the lease."""
NEEDED_FOR_JOB_SETS: Final = tuple(
    Permission(JOB_SETS.group, JOB_SETS.plural, verb) for verb in ("get", "list", "watch", "create", "delete")
)
"""In every namespace that is watched, to make JobSets of stages with several nodes; without them these are Jobs."""
NEEDED_FOR_REVIEWS: Final = (Permission(TOKEN_REVIEWS.group, TOKEN_REVIEWS.plural, "create"),)
"""Where Jobs report their progress: in no namespace, because tokens have none."""


def needed_for_authority(name: str) -> tuple[Permission, ...]:
    """In the namespace of the Secret with the operator's own authority: to read this one, and to make it."""
    return (
        Permission(SECRETS.group, SECRETS.plural, "create"),
        Permission(SECRETS.group, SECRETS.plural, "get", name),
    )


async def find_missing(
    client: KubeClient,
    namespaces: Sequence[str],
    lease_namespace: str | None,
    *,
    authority: str = "",
    reviews: bool = False,
) -> tuple[tuple[Permission, str], ...]:
    """Every permission that is missing, with the namespace where it is.

    Args:
        client: The API server.
        namespaces: What is watched; none stands for everything, an empty name in the answer too.
        lease_namespace: Where the lease is; None where there is none.
        authority: namespace/name of the Secret with the operator's own authority; empty where it needs none.
        reviews: Whether tokens are reviewed.

    Raises:
        ApiError: The API server did not answer.
    """
    wanted = [(permission, namespace) for namespace in namespaces or ("",) for permission in NEEDED]
    if lease_namespace is not None:
        wanted += [(permission, lease_namespace) for permission in NEEDED_FOR_LEASE]
    if authority:
        namespace, _, name = authority.partition("/")
        wanted += [(permission, namespace) for permission in needed_for_authority(name)]
    if reviews:
        wanted += [(permission, "") for permission in NEEDED_FOR_REVIEWS]
    return await _missing_of(client, wanted)


async def find_missing_for_job_sets(
    client: KubeClient, namespaces: Sequence[str]
) -> tuple[tuple[Permission, str], ...]:
    """The same of what JobSets need."""
    return await _missing_of(
        client, [(one, namespace) for namespace in namespaces or ("",) for one in NEEDED_FOR_JOB_SETS]
    )


async def _missing_of(
    client: KubeClient, wanted: Sequence[tuple[Permission, str]]
) -> tuple[tuple[Permission, str], ...]:
    turns = asyncio.Semaphore(_AT_A_TIME)

    async def ask(permission: Permission, namespace: str) -> bool:
        async with turns:
            return await _is_allowed(client, permission, namespace)

    allowed = await asyncio.gather(*(ask(*one) for one in wanted))
    return tuple(one for one, yes in zip(wanted, allowed, strict=True) if not yes)


async def _is_allowed(client: KubeClient, permission: Permission, namespace: str) -> bool:
    resource, _, subresource = permission.resource.partition("/")
    attributes: dict[str, Any] = {"verb": permission.verb, "group": permission.group, "resource": resource}
    attributes |= {"subresource": subresource, "namespace": namespace, "name": permission.name}
    review = {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": ACCESS_REVIEWS.kind,
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    answer = await client.create(ACCESS_REVIEWS, None, review)
    return bool((answer.get("status") or {}).get("allowed"))
