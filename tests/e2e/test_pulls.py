import pytest

from tests.cluster.client import KubeClient
from tests.e2e.conftest import SECRETS
from tests.e2e.pods import probe_pod, running_pod, waiting_pod
from tests.e2e.realcluster import RealCluster

pytestmark = pytest.mark.e2e

REFUSED = ("ErrImagePull", "ImagePullBackOff")


async def test_without_the_secret_nothing_is_pulled(kube: KubeClient, namespace: str, private: str) -> None:
    waiting = await waiting_pod(kube, namespace, probe_pod("anonymous", private, "pause", secret=""), "ErrImagePull")
    assert "401 Unauthorized" in waiting["message"]


async def test_with_a_wrong_password_nothing_is_pulled(
    cluster: RealCluster, kube: KubeClient, namespace: str, private: str
) -> None:
    await kube.create(SECRETS, cluster.registry.pull_secret("stale", "not-the-password"), namespace)
    waiting = await waiting_pod(kube, namespace, probe_pod("stale", private, "pause", secret="stale"), *REFUSED)
    assert "401 Unauthorized" in waiting["message"]


async def test_a_registry_of_an_unknown_authority_is_refused(
    cluster: RealCluster, kube: KubeClient, namespace: str, private: str
) -> None:
    # The same registry by its address: its certificate is good for that, but the node trusts the name alone.
    image = private.replace(cluster.registry.name, cluster.registry.by_address)
    waiting = await waiting_pod(kube, namespace, probe_pod("stranger", image, "pause"), *REFUSED)
    assert "certificate signed by unknown authority" in waiting["message"]


async def test_a_pull_goes_on_once_the_registry_is_back(cluster: RealCluster, kube: KubeClient, namespace: str) -> None:
    image = cluster.registry.push(cluster.programs.images / "pause", "tests/late")
    cluster.registry.process.kill()
    try:
        waiting = await waiting_pod(kube, namespace, probe_pod("late", image), *REFUSED)
        assert "connection refused" in waiting["message"]
    finally:
        cluster.registry.start()
    await running_pod(kube, namespace, probe_pod("later", image))


@pytest.fixture(scope="session")
def private(cluster: RealCluster) -> str:
    """An image that nobody has pulled yet: what is on the node, a pod gets without being asked who it is."""
    return cluster.registry.push(cluster.programs.images / "pause", "tests/private")
