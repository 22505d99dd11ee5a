"""What the operator may do: a missing right is named when it starts, and in the condition of the object it hinders."""

from pathlib import Path
from typing import Any

import pytest

from plumbline_api.names import ExitCode, Kind
from plumbline_operator.kube.login import Login
from plumbline_operator.kube.permissions import NEEDED, NEEDED_FOR_LEASE, Permission
from tests.cluster.client import KubeClient, Resource
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.operating import (
    apply,
    apply_inputs,
    condition_of,
    connect,
    jobs_of,
    operator_process,
    running_operator,
    serve_kinds,
    status_where,
)
from tests.support import build

pytestmark = pytest.mark.cluster

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
QUOTAS = Resource("", "v1", "resourcequotas")
RUN = Kind.ALIGNMENT_RUN
RUNS = KINDS[RUN]


@pytest.fixture(autouse=True)
async def kinds(kube: KubeClient) -> None:
    await serve_kinds(kube)


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


def login_as(plane: ControlPlane, user: str) -> Login:
    return connect(plane, plane.authority.issue(user))


async def test_the_table_is_all_that_a_run_needs(control_plane: ControlPlane, kube: KubeClient, namespace: str) -> None:
    user = f"operator-{namespace}"
    await give_role(kube, namespace, user)
    login = login_as(control_plane, user)
    async with running_operator(login, namespace, lease_namespace=namespace) as operator:
        await operator.check()
        await apply_inputs(kube, namespace)
        await apply(kube, namespace, build.run())
        assert len(await jobs_of(kube, namespace)) == 1
        await status_where(kube, namespace, RUN, "base", observedGeneration=1)
        refused = [
            (sample.labels["verb"], sample.labels["resource"])
            for family in operator.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "plumbline_api_requests_total" and sample.labels["code"] == "403"
        ]
        assert refused == []


async def test_a_start_without_a_right_names_each_that_is_missing(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    user = f"operator-{namespace}"
    status = Permission("plumbline.dev", "evalgates/status", "update")
    await give_role(kube, namespace, user, Permission("batch", "jobs", "create"), status)
    kubeconfig = control_plane.user_kubeconfig(user)
    with operator_process(kubeconfig, tmp_path, "--namespace", namespace, "--lease-namespace", namespace) as operator:
        assert await operator.ended(150) == ExitCode.NOT_PERMITTED
        said = operator.log.read_text()
    assert f"may not create jobs (API group batch) in namespace {namespace}; add it to its role" in said
    assert f"may not update evalgates/status (API group plumbline.dev) in namespace {namespace}" in said
    assert said.count("the operator may not") == 2


async def test_a_right_that_is_lost_later_is_named_in_the_condition(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    user = f"operator-{namespace}"
    await give_role(kube, namespace, user, Permission("batch", "jobs", "create"))
    await apply_inputs(kube, namespace)
    async with running_operator(login_as(control_plane, user), namespace):
        await apply(kube, namespace, build.run())
        run = await status_where(kube, namespace, RUN, "base", phase="Stalled")
        stalled = condition_of(run, "Stalled")
        assert stalled["reason"] == "NotPermitted"
        assert "may not create jobs in namespace" in stalled["message"]
        assert "(API group batch) to its role" in stalled["message"]
        await give_role(kube, namespace, user)
        assert len(await jobs_of(kube, namespace)) == 1
        await kube.until(RUNS, "base", namespace, lambda thing: not condition_of(thing, "Stalled"))


async def test_a_quota_that_is_used_up_is_told_as_such(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    await kube.create(QUOTAS, quota, namespace)
    await kube.until(QUOTAS, "none", namespace, lambda found: "hard" in found.get("status", {}))
    await apply_inputs(kube, namespace)
    async with running_operator(connect(control_plane), namespace):
        await apply(kube, namespace, build.run())
        run = await status_where(kube, namespace, RUN, "base", phase="Stalled")
        assert "exceeded quota" in condition_of(run, "Stalled")["message"]
        await kube.delete(QUOTAS, "none", namespace)
        assert len(await jobs_of(kube, namespace)) == 1
