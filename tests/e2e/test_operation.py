from collections.abc import Iterator

import pytest

from tests.cluster.client import PODS, KubeClient, Object, Resource
from tests.e2e.pods import ended_pod, probe_pod, running_pod
from tests.e2e.realcluster import RealCluster

pytestmark = pytest.mark.e2e

CLAIMS = Resource("", "v1", "persistentvolumeclaims")
GPU = "nvidia.com/gpu"


async def test_logs_are_read_and_commands_are_run_in_a_pod(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str
) -> None:
    await running_pod(kube, namespace, probe_pod("counts", probe, "count"))
    assert cluster.kubectl("logs", "counts", f"--namespace={namespace}").stdout.startswith("1\n")
    done = cluster.kubectl("exec", "counts", f"--namespace={namespace}", "--", "/probe", "say", "from", "within")
    assert done.stdout == "from within\n"


async def test_a_pod_that_is_not_restricted_is_refused(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str
) -> None:
    done = cluster.kubectl("run", "careless", f"--image={probe}", f"--namespace={namespace}", check=False)
    assert 'violates PodSecurity "restricted:latest"' in done.stderr


async def test_a_pod_that_wants_gpus_waits_for_a_node_that_has_them(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str, no_gpus_left: None
) -> None:
    container = {"resources": {"limits": {GPU: "2"}}}
    await kube.create(PODS, probe_pod("hungry", probe, "say", "fed", container=container), namespace)
    pod = await kube.until(PODS, "hungry", namespace, lambda pod: pod["status"].get("conditions"))
    assert f"Insufficient {GPU}" in pod["status"]["conditions"][0]["message"]
    cluster.set_resource(GPU, 8)
    await kube.until(PODS, "hungry", namespace, lambda pod: pod["status"]["phase"] == "Succeeded")


async def test_a_claim_gets_the_volume_that_is_made_for_it(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str
) -> None:
    room = {"requests": {"storage": "1Gi"}}
    claim = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": room}
    await kube.create(CLAIMS, {"metadata": {"name": "store"}, "spec": claim}, namespace)
    folder = cluster.provide_volume(namespace, "store")
    store: Object = {
        "container": {"volumeMounts": [{"name": "store", "mountPath": "/store"}]},
        "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": "store"}}],
    }
    await ended_pod(kube, namespace, probe_pod("writes", probe, "write", "/store/note", "kept", **store))
    assert (folder / "note").read_text() == "kept"
    await ended_pod(kube, namespace, probe_pod("reads", probe, "read", "/store/note", **store))
    assert cluster.kubectl("logs", "reads", f"--namespace={namespace}").stdout == "kept"


@pytest.fixture
def no_gpus_left(cluster: RealCluster) -> Iterator[None]:
    """Take what the test gives away from the node again."""
    yield
    cluster.set_resource(GPU, 0)
