"""One real cluster for the whole session, a restricted namespace per test, and the timeline of the start at the end."""

import tempfile
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.cluster.client import NAMESPACES, SERVICE_ACCOUNTS, KubeClient, Object, Resource
from tests.e2e.bundled import bring_bundle, present_sources
from tests.e2e.installation import CHART, Installation, Release, in_a_bucket, installed, on_a_volume
from tests.e2e.machine import unsupported
from tests.e2e.pods import PULL_SECRET, restricted_namespace
from tests.e2e.previous import earlier_sources
from tests.e2e.programs import NodePrograms, find_node_programs
from tests.e2e.realcluster import RealCluster, real_cluster
from tests.e2e.siteimages import SiteImages, find_images, pull_images, push_images
from tests.support.objectstore import ObjectStore, run_object_store

NUMBERS = count(1)
VOLUME_MB = 300
SECRETS = Resource("", "v1", "secrets")
ELSEWHERE = frozenset({"argocd", "images", "records"})
"""Fixtures of tests that take what is made in many minutes: images, or Argo CD."""
BESIDE = ("tests/e2e/argocd/", "tests/e2e/test_images", "tests/e2e/test_bundle_push")
"""Where tests begin to be named that need no node."""
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
def probe(cluster: RealCluster) -> str:
    """The image of the tests, in the registry."""
    return cluster.push_probe()


@pytest.fixture(scope="session")
def images(cluster: RealCluster) -> SiteImages:
    """Those of `make images`, in the registry, and on the node what takes long to pull; skips where none are built."""
    built = find_images()
    if built is None:
        pytest.skip("the images are not built; run: make images")
    began = time.monotonic()
    site = push_images(cluster, built)
    cluster.timeline.append(("all images are in the registry: after", time.monotonic() - began))
    began = time.monotonic()
    pull_images(cluster, site)
    cluster.timeline.append(("trainer and engine are pulled: after", time.monotonic() - began))
    return site


@pytest.fixture
def tell(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Iterator[Callable[[str], None]]:
    """To be told what people want to see of a test: `make e2e` ends with it."""
    lines: list[str] = []
    yield lines.append
    if lines:
        record_property(request.node.name, "\n".join(lines))


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may read, as volumes are."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def object_store(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 server of the site, with TLS and accounts."""
    with run_object_store(tmp_path_factory.mktemp("s3"), host=cluster.addresses.host) as server:
        port = urlsplit(server.url).port
        assert port is not None
        cluster.firewall.allow(port)
        yield server
        cluster.firewall.forbid(port)


EARLIER = "earlier"
"""For tests that ask for it: the release before this one, out of its bundle."""


@pytest.fixture(scope="session", params=["volume", "bucket"])
def installation(
    cluster: RealCluster,
    images: SiteImages,
    object_store: ObjectStore,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Installation]:
    """Plumbline and a team whose store is a volume or a bucket; one after the other for all tests of the session."""
    name = f"team-{request.param}"
    kinds = {
        "volume": partial(on_a_volume, cluster, name, VOLUME_MB),
        "bucket": partial(in_a_bucket, cluster, name, object_store),
        EARLIER: partial(on_a_volume, cluster, name),
    }
    folder, release = tmp_path_factory.mktemp(name), Release(CHART, images.values)
    more: Object = {}
    if request.param == EARLIER:
        release = bring_bundle(cluster, earlier_sources(present_sources(images.built), folder), folder)
        # Its share of a node that is busier then than at any other time.
        more = {"operator": {"resources": {"requests": {"cpu": "300m", "memory": "128Mi"}}}}
    began = time.monotonic()
    with installed(cluster, release, name, folder, kinds[request.param], **more) as found:
        cluster.timeline.append((f"Plumbline is installed for {name}: after", time.monotonic() - began))
        yield found


@pytest.fixture
def team(installation: Installation) -> Iterator[Installation]:
    """The same, without an object of Plumbline's, now and afterwards."""
    yield installation
    installation.clear()


@pytest.fixture(params=[True, pytest.param(False, marks=pytest.mark.rare)], ids=["struck", "alone"])
def strike(installation: Installation, request: pytest.FixtureRequest) -> Callable[[], None]:
    """To be called in the middle of a fault: kills the operator, but for the rare times that it is left in peace."""
    return installation.kill_operator if request.param else lambda: None


@pytest.fixture
async def kube(cluster: RealCluster) -> AsyncIterator[KubeClient]:
    """The administrator's client."""
    async with cluster.client() as client:
        yield client


@pytest.fixture
async def namespace(cluster: RealCluster, kube: KubeClient) -> AsyncIterator[str]:
    """An empty namespace that enforces the restricted standard, with the secret for the registry."""
    name = f"e2e-{next(NUMBERS)}"
    await kube.create(NAMESPACES, restricted_namespace(name))
    await kube.until(SERVICE_ACCOUNTS, "default", name, lambda _: True)
    await kube.create(SECRETS, cluster.registry.pull_secret(PULL_SECRET), name)
    yield name
    await kube.delete(NAMESPACES, name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is rare, unless all faults are asked for, and what the node alone has not."""

    def is_left_out(item: pytest.Item) -> bool:
        rare = item.get_closest_marker("rare") is not None and not config.getoption("all_faults")
        return rare or (config.getoption("node_alone") and not ELSEWHERE.isdisjoint(getattr(item, "fixturenames", ())))

    left_out = [item for item in items if is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


class TwoLanes(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """What waits on the node is done in one worker, and what needs none beside it in another."""

    def _split_scope(self, nodeid: str) -> str:
        return "beside" if nodeid.startswith(BESIDE) else "node"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> TwoLanes:
    """Called where there are workers."""
    return TwoLanes(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show with a failed test what the parts of the cluster complained of; bring along how soon they came up."""
    report = yield
    running = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(running, RealCluster):
        report.sections.append(("cluster", running.describe()))
    if reached := item.config.stash.get(TIMELINE, None):
        lines = (f"{seconds:6.1f} s  {what}" for what, seconds in reached)
        report.user_properties.append(("start of the real node", "\n".join(lines)))
    return report
