import pytest

from tests.cluster.client import JOBS, PODS, KubeClient, Object, Resource
from tests.e2e.kubelet import NODE
from tests.e2e.pods import probe_job
from tests.e2e.realcluster import RealCluster

pytestmark = pytest.mark.e2e

NODES = Resource("", "v1", "nodes", namespaced=False)


async def test_a_real_node_is_ready_within_two_minutes(cluster: RealCluster, kube: KubeClient) -> None:
    node = await kube.get(NODES, NODE)
    info = node["status"]["nodeInfo"]
    assert info["containerRuntimeVersion"].startswith("containerd://")
    assert dict(cluster.timeline)["node Ready"] < 120


async def test_a_job_runs_to_its_end_under_the_restricted_standard(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str
) -> None:
    await kube.create(JOBS, probe_job("hello", probe, "say", "done"), namespace)
    await kube.until(JOBS, "hello", namespace, is_complete)
    (pod,) = await kube.items(PODS, namespace)
    assert pod["status"]["containerStatuses"][0]["imageID"] == probe
    digest = probe.partition("@")[2]
    assert f"GET /v2/tests/probe/manifests/{digest}" in cluster.registry.requests()


def is_complete(job: Object) -> bool:
    """Whether a Job has ended well."""
    return any(one["type"] == "Complete" and one["status"] == "True" for one in job["status"].get("conditions", ()))
