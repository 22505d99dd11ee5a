import pytest

from tests.cluster.client import PODS, KubeClient, Object
from tests.e2e.pods import ended_pod, probe_pod, running_pod
from tests.e2e.realcluster import RealCluster

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("part", ["kubelet", "containerd"])
async def test_a_pod_goes_on_when_a_program_of_its_node_is_killed(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str, part: str
) -> None:
    before = await running_pod(kube, namespace, probe_pod("counts", probe, "count"))
    counted = counts(cluster, namespace)[-1]
    if part == "kubelet":
        cluster.restart_kubelet()
    else:
        cluster.restart_runtime()
    # A new pod shows that the one who was killed works again; what it did before, that it found its old pods.
    done = await ended_pod(kube, namespace, probe_pod("next", probe, "say", "hello"))
    assert done["status"]["phase"] == "Succeeded"
    after = await kube.get(PODS, "counts", namespace)
    assert container(after)["containerID"] == container(before)["containerID"]
    assert container(after)["restartCount"] == 0
    numbers = counts(cluster, namespace)
    assert numbers == list(range(1, len(numbers) + 1)), "it began anew"
    assert numbers[-1] > counted


def container(pod: Object) -> Object:
    """The status of its only container."""
    (found,) = pod["status"]["containerStatuses"]
    return dict(found)


def counts(cluster: RealCluster, namespace: str) -> list[int]:
    """What the pod has counted so far."""
    return [int(line) for line in cluster.kubectl("logs", "counts", f"--namespace={namespace}").stdout.split()]
