"""The life of a release on a real API server, by Helm 3 and Helm 4: installed, upgraded, rolled back, uninstalled."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from plumbline_api.names import GROUP, PLURALS, Kind
from tests.chart.helm import CHART, DIGESTS, VALUES, Helm, Object, Rendering, values_of
from tests.chart.releases import Release
from tests.cluster.client import CONFIG_MAPS, CRDS, DEPLOYMENTS, NAMESPACES, KubeClient, Resource, eventually
from tests.cluster.commands import run_kubectl
from tests.cluster.controlplane import ControlPlane, control_plane
from tests.cluster.crds import KINDS
from tests.cluster.programs import Programs
from tests.support import build

pytestmark = pytest.mark.cluster

CLAIMS = Resource("", "v1", "persistentvolumeclaims")
POLICIES = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", namespaced=False)
RBAC = "rbac.authorization.k8s.io"
OF_A_RELEASE = (
    DEPLOYMENTS,
    CONFIG_MAPS,
    Resource("", "v1", "services"),
    Resource("", "v1", "serviceaccounts"),
    Resource(RBAC, "v1", "roles"),
    Resource(RBAC, "v1", "rolebindings"),
    Resource(RBAC, "v1", "clusterroles", namespaced=False),
    Resource("policy", "v1", "poddisruptionbudgets"),
    Resource("networking.k8s.io", "v1", "networkpolicies"),
    POLICIES,
    CLAIMS,
    CRDS,
)
OURS = "app.kubernetes.io/name=plumbline"
COLUMN = re.compile(r"    - name: Subject\n(?:      .*\n)+")
"""What the CRD of EvalGates has gained since the earlier version."""


@pytest.fixture(scope="module")
def plane(programs: Programs) -> Iterator[ControlPlane]:
    """A cluster without our CRDs."""
    with control_plane(programs) as running:
        yield running


@pytest.fixture(autouse=True)
async def without_crds(kube: KubeClient) -> AsyncIterator[None]:
    """Each test begins without them and leaves none."""
    yield
    for kind in Kind:
        if await kube.find(CRDS, crd_name(kind)):
            await kube.delete(CRDS, crd_name(kind))

    async def gone() -> bool:
        return not [kind for kind in Kind if await kube.find(CRDS, crd_name(kind))]

    await eventually(gone, 60.0)


def crd_name(kind: Kind) -> str:
    return f"{PLURALS[kind]}.{GROUP}"


@pytest.fixture
def earlier(helm: Helm, tmp_path: Path) -> Path:
    """A package of the chart as an earlier version might have been: another CRD, another template."""
    folder = tmp_path / "plumbline"
    shutil.copytree(CHART, folder)
    crd = folder / "templates/crds" / f"{crd_name(Kind.EVAL_GATE)}.yaml"
    text = crd.read_text(encoding="utf-8")
    assert COLUMN.search(text)
    crd.write_text(COLUMN.sub("", text), encoding="utf-8")
    leftover = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "leftover"}}
    (folder / "templates/leftover.yaml").write_text(yaml.safe_dump(leftover), encoding="utf-8")
    return package(helm, folder, "0.0.9", tmp_path)


def package(helm: Helm, folder: Path, version: str, target: Path) -> Path:
    helm.run("package", str(folder), "--version", version, "--app-version", version, "--destination", str(target))
    return target / f"plumbline-{version}.tgz"


async def columns(kube: KubeClient) -> set[str]:
    crd = await kube.get(CRDS, crd_name(Kind.EVAL_GATE))
    return {str(one["name"]) for one in crd["spec"]["versions"][0]["additionalPrinterColumns"]}


async def make_objects(kube: KubeClient, namespace: str) -> dict[Kind, str]:
    """One object of each kind, and their uids."""
    things = {
        Kind.ALIGNMENT_RUN: build.run("kept"),
        Kind.RED_TEAM_SUITE: build.suite("kept"),
        Kind.EVAL_GATE: build.gate("kept"),
        Kind.GUARDED_INFERENCE: build.inference("kept"),
    }
    uids = {}
    for kind, thing in things.items():
        await kube.until(CRDS, crd_name(kind), None, is_established)
        body = {**thing.dump(), "metadata": {"name": "kept"}}
        await eventually(partial(is_served, kube, kind))
        uids[kind] = (await kube.create(KINDS[kind], body, namespace))["metadata"]["uid"]
    return uids


async def uids_of(kube: KubeClient, namespace: str) -> dict[Kind, str]:
    return {kind: (await kube.get(KINDS[kind], "kept", namespace))["metadata"]["uid"] for kind in Kind}


async def versions(kube: KubeClient, namespace: str) -> dict[str, str]:
    """The generation of each object of a release: what somebody has changed the spec of."""
    return {
        f"{resource.plural}/{one['metadata']['name']}": str(one["metadata"].get("generation", one.get("data")))
        for resource in OF_A_RELEASE
        for one in await kube.items(resource, namespace, OURS)
    }


async def kinds_left(kube: KubeClient, namespace: str) -> set[str]:
    return {place.partition("/")[0] for place in await versions(kube, namespace)}


async def test_a_release_is_installed_upgraded_and_uninstalled_and_objects_outlive_it(
    plane: ControlPlane, kube: KubeClient, namespace: str, major: int, helm: Helm, earlier: Path, tmp_path: Path
) -> None:
    release = Release(plane, major, namespace)
    said = await release.install(DIGESTS, earlier)
    assert "Plumbline 0.0.9 is being started" in said.stdout
    assert f"-n {namespace}" in said.stdout
    made = await make_objects(kube, namespace)
    assert "Subject" not in await columns(kube)
    assert await kube.find(CONFIG_MAPS, "leftover", namespace)

    newer = package(helm, CHART, "0.1.0", tmp_path)
    await release.upgrade(DIGESTS, newer)
    assert "Subject" in await columns(kube)
    assert await kube.find(CONFIG_MAPS, "leftover", namespace) is None
    assert await release.history() == ["plumbline-0.0.9", "plumbline-0.1.0"]
    assert await uids_of(kube, namespace) == made

    before = await versions(kube, namespace)
    await release.upgrade(DIGESTS, newer)
    assert await versions(kube, namespace) == before, "the same again changes nothing"

    await release.helm("rollback", "plumbline", "1")
    assert "Subject" not in await columns(kube)
    assert await uids_of(kube, namespace) == made

    kept = await release.uninstall()
    assert await kinds_left(kube, namespace) == {"customresourcedefinitions", "persistentvolumeclaims"}
    assert "alignmentruns" in kept.stdout
    assert await uids_of(kube, namespace) == made

    await release.install(DIGESTS, newer)
    assert "Subject" in await columns(kube)
    assert await uids_of(kube, namespace) == made
    await release.uninstall()


async def test_a_second_release_leaves_the_crds_to_the_first(
    plane: ControlPlane, kube: KubeClient, namespace: str, major: int
) -> None:
    await kube.create(NAMESPACES, {"metadata": {"name": f"{namespace}-b"}})
    first, second = Release(plane, major, namespace), Release(plane, major, f"{namespace}-b")
    await first.install(DIGESTS)
    refused = await second.install(DIGESTS, check=False)
    assert refused.returncode != 0
    assert "cannot be imported into the current release" in refused.stderr
    await second.install({**DIGESTS, "crds": {"install": False}})
    await first.uninstall()
    assert "deployments" in await kinds_left(kube, f"{namespace}-b")
    await second.uninstall()
    await kube.delete(NAMESPACES, f"{namespace}-b")


async def test_namespaces_that_let_any_pod_in_are_refused_where_that_is_asked_for(
    plane: ControlPlane, kube: KubeClient, namespace: str, major: int
) -> None:
    release, strict = Release(plane, major, namespace), {"workloads": {"requireRestricted": True}}
    label = "pod-security.kubernetes.io/enforce"
    for level in (None, "baseline"):
        await kube.merge(NAMESPACES, namespace, {"metadata": {"labels": {label: level}}})
        refused = await release.install({**DIGESTS, **strict}, check=False)
        assert refused.returncode != 0
        assert f"not restricted: {namespace}; workloads.requireRestricted asks" in refused.stderr
        assert f"kubectl label namespace {namespace} {label}=restricted" in refused.stderr
        assert await kinds_left(kube, namespace) <= {"customresourcedefinitions", "persistentvolumeclaims"}
    await kube.merge(NAMESPACES, namespace, {"metadata": {"labels": {label: "restricted"}}})
    await release.install({**DIGESTS, **strict})
    await release.uninstall()


async def test_helm_4_goes_on_with_a_release_of_helm_3(plane: ControlPlane, kube: KubeClient, namespace: str) -> None:
    await Release(plane, 3, namespace).install(DIGESTS)
    made = await versions(kube, namespace)
    newer = Release(plane, 4, namespace)
    await newer.upgrade(DIGESTS)
    assert await versions(kube, namespace) == made
    await newer.uninstall()


async def test_changed_settings_restart_the_operator(plane: ControlPlane, kube: KubeClient, namespace: str) -> None:
    release = Release(plane, 4, namespace)
    await release.install(DIGESTS)
    await release.upgrade({**DIGESTS, "workloads": {"startDeadlineSeconds": 60}})
    deployment = await kube.get(DEPLOYMENTS, "plumbline", namespace)
    assert deployment["metadata"]["generation"] == 2
    await release.uninstall()


async def test_the_command_that_tells_argocd_can_be_pasted(
    plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    await kube.create(NAMESPACES, {"metadata": {"name": "argocd"}})
    settings = {"metadata": {"name": "argocd-cm"}, "data": {"timeout.reconciliation": "60s"}}
    await kube.create(CONFIG_MAPS, settings, "argocd")
    release = Release(plane, 4, namespace)
    notes = (await release.install({**DIGESTS, "argocd": {"enabled": True}})).stdout
    (pasted,) = re.findall(r"^ +kubectl .* get configmap .*\\\n.*$", notes, re.MULTILINE)
    place = {"PATH": f"{plane.programs.components}:{os.defpath}", "KUBECONFIG": str(plane.kubeconfig)}
    command = ["bash", "-euo", "pipefail", "-c", pasted]
    await asyncio.to_thread(subprocess.run, command, env=place, check=True, timeout=60)
    brought = (await kube.get(CONFIG_MAPS, "plumbline-argocd", namespace))["data"]
    merged = (await kube.get(CONFIG_MAPS, "argocd-cm", "argocd"))["data"]
    assert merged == {**settings["data"], **brought}
    await release.uninstall()


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)
async def test_the_api_server_takes_what_is_rendered_without_a_warning(
    plane: ControlPlane, kube: KubeClient, namespace: str, helm4: Helm, path: Path
) -> None:
    given = values_of(path)
    for one in ("research", "product"):
        if await kube.find(NAMESPACES, one) is None:
            await kube.create(NAMESPACES, {"metadata": {"name": one}})
    text = helm4.template(Rendering(given, namespace=namespace, apis=())).stdout
    flags = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
    done = await asyncio.to_thread(run_kubectl, plane, *flags, text=text)
    # A pod that the restricted standard would not let in is a warning in this namespace, as is a field of old.
    assert done.stderr == ""
    made = [thing for thing in yaml.load_all(text, yaml.CSafeLoader) if thing]
    assert done.stdout.count("serverside-applied (server dry run)") == len(made)


def is_established(crd: Object) -> bool:
    conditions = crd.get("status", {}).get("conditions", ())
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


async def is_served(kube: KubeClient, kind: Kind) -> bool:
    served = (await kube.call("GET", f"/apis/{GROUP}"))["versions"]
    group = await kube.call("GET", f"/apis/{served[0]['groupVersion']}")
    return PLURALS[kind] in {one["name"] for one in group["resources"]}
