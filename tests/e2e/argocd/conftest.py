"""A control plane with Argo CD, a site's repository synced into it, the operator beside, and a node that runs pods."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from plumbline_api.names import Image
from tests.cluster.build.cache import cache_root
from tests.cluster.client import KubeClient
from tests.cluster.controlplane import control_plane
from tests.cluster.node import Node, process_node
from tests.cluster.operating import operator_process
from tests.cluster.programs import find_programs, unsupported
from tests.cluster.reservation import ReservedPort
from tests.e2e.argocd.installation import RELEASE, Platform, kubectl, merge_settings
from tests.e2e.argocd.processes import NAMESPACE, ArgoCD, lacking, running_argocd
from tests.e2e.argocd.site import TEAM, make_site
from tests.e2e.build.argocd import argocd_folder
from tests.support import build


@pytest.fixture(scope="session")
def argocd() -> Iterator[ArgoCD]:
    """Argo CD on a control plane of its own."""
    if reason := unsupported() or lacking():
        pytest.skip(reason)
    built = argocd_folder(cache_root(os.environ))
    if not built.is_dir():
        pytest.fail(f"{built} is not built; run: make e2e")
    with control_plane(find_programs()) as plane, running_argocd(plane, built) as argocd:
        yield argocd


@pytest.fixture(scope="session")
def platform(argocd: ArgoCD, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The site's repository in Argo CD by the commands of its README, until the operator's Application is healthy.

    The operator itself is a process beside, with the account and the rights that the chart gave it.
    """
    folder = tmp_path_factory.mktemp("site")
    site = make_site(folder / "gitops")
    site.push_inputs()
    site.hold_team_back()
    site.commit("The whole site")
    merge_settings(argocd, site)
    kubectl(argocd, f"kubectl apply -f {site.folder}/root.yaml")
    healthy = "--for=jsonpath={.status.health.status}=Healthy"
    kubectl(argocd, f"kubectl -n {NAMESPACE} wait --for=create application/plumbline-operator --timeout=120s")
    for name in ("plumbline-cluster", "plumbline-operator", "plumbline"):
        kubectl(argocd, f"kubectl -n {NAMESPACE} wait {healthy} application/{name} --timeout=170s")
    port = ReservedPort()
    number = port.number
    port.release()
    pods = {
        "images": {image.value: build.RUNTIME.images[image] for image in Image},
        "store": site.store,
        "progress": {"url": f"https://127.0.0.1:{number}"},
    }
    settings = {
        "PLUMBLINE_PODS": json.dumps(pods),
        "PLUMBLINE_PROGRESS_PORT": str(number),
        "PLUMBLINE_PROGRESS_SECRET": f"{RELEASE}/plumbline-progress",
    }
    account = argocd.plane.service_account_kubeconfig(RELEASE, RELEASE)
    with operator_process(account, folder, "--namespace", TEAM, environment=settings):
        yield Platform(argocd.plane, argocd, site, folder)


@pytest.fixture
async def kube(platform: Platform) -> AsyncIterator[KubeClient]:
    """The administrator's client."""
    async with platform.plane.client() as client:
        yield client


@pytest.fixture
async def node(platform: Platform, kube: KubeClient, tmp_path: Path) -> AsyncIterator[Node]:
    """A node that runs the team's pods as processes."""
    async with process_node(kube, tmp_path / "node", TEAM) as node:
        yield node
