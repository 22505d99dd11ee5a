"""What the operator may do: a missing right is named when it starts, and in the condition of the object it hinders."""

from pathlib import Path

import pytest

from plumbline_api.names import ExitCode, Kind
from plumbline_operator.kube.api.client import KubeClient as OperatorClient
from plumbline_operator.kube.api.login import Login
from plumbline_operator.kube.permissions import NEEDED, NEEDED_FOR_LEASE, Permission, find_missing
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
from tests.cluster.roles import give_role
from tests.support import build

pytestmark = pytest.mark.cluster

QUOTAS = Resource("", "v1", "resourcequotas")
RUN = Kind.ALIGNMENT_RUN
RUNS = KINDS[RUN]


@pytest.fixture(autouse=True)
async def kinds(kube: KubeClient) -> None:
    await serve_kinds(kube)


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


@pytest.mark.parametrize("odd", [False, True])
async def test_each_right_that_is_missing_is_found(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, *, odd: bool
) -> None:
    user = f"operator-{namespace}"
    missing = [one for number, one in enumerate((*NEEDED, *NEEDED_FOR_LEASE)) if number % 2 == odd]
    await give_role(kube, namespace, user, *missing)
    client = OperatorClient(login_as(control_plane, user))
    try:
        found = await find_missing(client, (namespace,), namespace)
    finally:
        await client.close()
    assert list(found) == [(one, namespace) for one in missing]


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
