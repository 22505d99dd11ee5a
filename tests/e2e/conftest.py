"""One real cluster for the whole session, a restricted namespace per test, and the timeline of the start at the end."""

import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.client import NAMESPACES, SERVICE_ACCOUNTS, KubeClient, Resource
from tests.cluster.pods import RESTRICTED
from tests.e2e.installation import Images, find_images
from tests.e2e.machine import unsupported
from tests.e2e.pods import PULL_SECRET
from tests.e2e.programs import NodePrograms, find_node_programs
from tests.e2e.realcluster import RealCluster, real_cluster

NUMBERS = count(1)
SECRETS = Resource("", "v1", "secrets")
TIMELINE = pytest.StashKey[list[tuple[str, float]]]()


@pytest.fixture(scope="session")
def node_programs() -> NodePrograms:
    """What a node is made of; skips where none can run."""
    if reason := unsupported():
        pytest.skip(reason)
    return find_node_programs()


@pytest.fixture(scope="session")
def cluster(node_programs: NodePrograms, request: pytest.FixtureRequest) -> Iterator[RealCluster]:
    """One for the whole session, for tests that leave it as they found it."""
    with real_cluster(node_programs) as running:
        request.config.stash[TIMELINE] = running.timeline
        yield running


@pytest.fixture(scope="session")
def images() -> Images:
    """All images as they were built; skips where they were not."""
    found = find_images()
    if found is None:
        pytest.skip("not all images are built; run: make images")
    return found


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may read, as volumes are."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def probe(cluster: RealCluster) -> str:
    """The image of the tests, in the registry."""
    return cluster.push_probe()


@pytest.fixture
async def kube(cluster: RealCluster) -> AsyncIterator[KubeClient]:
    """The administrator's client."""
    async with cluster.client() as client:
        yield client


@pytest.fixture
async def namespace(cluster: RealCluster, kube: KubeClient) -> AsyncIterator[str]:
    """An empty namespace that enforces the restricted standard, with the secret for the registry."""
    name = f"e2e-{next(NUMBERS)}"
    await kube.create(NAMESPACES, {"metadata": {"name": name, "labels": RESTRICTED}})
    await kube.until(SERVICE_ACCOUNTS, "default", name, lambda _: True)
    await kube.create(SECRETS, cluster.registry.pull_secret(PULL_SECRET), name)
    yield name
    await kube.delete(NAMESPACES, name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show with a failed test what the parts of the cluster complained of."""
    report = yield
    running = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(running, RealCluster):
        report.sections.append(("cluster", running.describe()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how long the cluster took to come up."""
    if reached := config.stash.get(TIMELINE, None):
        terminalreporter.section("start of the real node")
        for what, seconds in reached:
            terminalreporter.write_line(f"{seconds:6.1f} s  {what}")
