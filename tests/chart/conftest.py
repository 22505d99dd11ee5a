"""Both Helms, and a control plane of the chart's own: its policies and CRDs are the whole cluster's."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest

from tests.chart.helm import Helm
from tests.cluster.client import NAMESPACES, SERVICE_ACCOUNTS, KubeClient
from tests.cluster.controlplane import ControlPlane, Options, control_plane
from tests.cluster.pods import RESTRICTED
from tests.cluster.programs import Programs, find_programs, unsupported

NUMBERS = count(1)


@pytest.fixture(scope="session")
def programs() -> Programs:
    """The programs that were built; skips where none can run."""
    if reason := unsupported():
        pytest.skip(reason)
    return find_programs()


@pytest.fixture(scope="session", params=[3, 4], ids=["helm3", "helm4"])
def major(request: pytest.FixtureRequest) -> int:
    """Helm's major version: every test that asks for it runs with both."""
    return int(request.param)


@pytest.fixture(scope="session")
def helm(programs: Programs, major: int, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """That Helm, without a cluster."""
    return Helm(programs.helm(major), tmp_path_factory.mktemp(f"helm{major}"))


@pytest.fixture(scope="session")
def helm4(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm 4, for what is rendered alike by both."""
    return Helm(programs.helm(4), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def plane(programs: Programs) -> Iterator[ControlPlane]:
    """A control plane with an audit log."""
    with control_plane(programs, Options(audit="Metadata")) as running:
        yield running


@pytest.fixture
async def kube(plane: ControlPlane) -> AsyncIterator[KubeClient]:
    """The administrator's client."""
    async with plane.client() as client:
        yield client


@pytest.fixture
async def namespace(kube: KubeClient) -> AsyncIterator[str]:
    """An empty namespace that enforces the restricted Pod Security Standard."""
    name = f"chart-{next(NUMBERS)}"
    body: dict[str, Any] = {"metadata": {"name": name, "labels": RESTRICTED}}
    await kube.create(NAMESPACES, body)
    await kube.until(SERVICE_ACCOUNTS, "default", name, lambda _: True)
    yield name
    await kube.delete(NAMESPACES, name)
