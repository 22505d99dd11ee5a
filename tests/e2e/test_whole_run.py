"""The main job on a real node: Helm, a private registry, restricted pods, and a request to what serves.

Nothing is simulated: the images are those of `make images`, the pods are containers, the model is trained in one of
them and answers from another. The node reaches the API server, the registry and itself, and every other contact that
is tried is written down.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from plumbline_api.names import ExitCode
from plumbline_operator.main import run_command
from tests.cluster.client import JOBS, PODS, KubeClient, Resource
from tests.e2e.installation import Installation, find_images, in_a_bucket, install, on_a_volume
from tests.e2e.realcluster import RealCluster
from tests.support.asking import ask
from tests.support.objectstore import ObjectStore, run_object_store
from tests.support.small_assistant import BENIGN, HARMFUL, write_small_assistant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

SERVICES = Resource("", "v1", "services")
LONGEST = 600
"""Seconds until something is given up here."""


@pytest.fixture
def object_store(cluster: RealCluster, tmp_path: Path) -> Iterator[ObjectStore]:
    """An S3 server of the site, with TLS and accounts."""
    (folder := tmp_path / "s3").mkdir()
    with run_object_store(folder, host=cluster.addresses.host) as server:
        port = urlsplit(server.url).port
        assert port is not None
        cluster.firewall.allow(port)
        yield server
        cluster.firewall.forbid(port)


@pytest.fixture(params=["volume", "bucket"])
async def team(
    cluster: RealCluster,
    namespace: str,
    object_store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Installation]:
    images = find_images()
    if images is None:
        pytest.skip("the images are not built; run: make images")
    store = (
        on_a_volume(cluster, namespace)
        if request.param == "volume"
        else await asyncio.to_thread(in_a_bucket, cluster, namespace, object_store)
    )
    for name, value in {"KUBECONFIG": str(cluster.plane.kubeconfig), **store.environment}.items():
        monkeypatch.setenv(name, value)
    installed = await asyncio.to_thread(install, cluster, images, namespace, store, tmp_path)
    yield installed
    await asyncio.to_thread(installed.kubectl, "delete", "plumbline", "--all", "--timeout=60s", check=False)
    await asyncio.to_thread(installed.uninstall)


async def wait(team: Installation, condition: str, thing: str) -> None:
    """`kubectl wait`; what went on where it does not end well."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        words = ("wait", f"--for=condition={condition}", thing, "--timeout=100s")
        if (await asyncio.to_thread(team.kubectl, *words, check=False)).endswith("condition met\n"):
            return
    raise AssertionError(f"{thing} is not {condition}\n{await asyncio.to_thread(team.describe)}")


async def test_the_main_job_from_helm_to_an_answer(
    team: Installation, cluster: RealCluster, kube: KubeClient, tmp_path: Path
) -> None:
    assistant = await asyncio.to_thread(write_small_assistant, tmp_path / "assistant")
    began = time.monotonic()
    push = ["push", "-f", str(assistant), "--store", team.store.uri, "-n", team.team, "--apply"]
    assert await asyncio.to_thread(run_command, push) == ExitCode.OK
    reached = [("pushed", time.monotonic() - began)]
    await asyncio.to_thread(team.kubectl, "apply", "-f", str(assistant))
    for condition, thing in (("Succeeded", "alr/small"), ("Passed", "egt/small"), ("Ready", "gin/small")):
        await wait(team, condition, thing)
        reached.append((f"{thing} {condition}", time.monotonic() - began))
    service = await kube.get(SERVICES, "small-guard", team.team)
    address = f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"
    benign, harmful = [await asyncio.to_thread(ask, address, "small", said) for said in (BENIGN, HARMFUL)]
    shown = [await asyncio.to_thread(team.kubectl, "get", what) for what in ("plumbline", "pods,jobs,deployments")]
    # For people: make e2e shows it.
    lines = [*(f"{seconds:6.1f} s  {what}" for what, seconds in reached), *shown]
    print("\n" + "\n".join(lines) + f"\n{BENIGN} -> {benign}\n{HARMFUL} -> {harmful}")  # noqa: T201
    assert benign.startswith("Task created")
    assert harmful == "I can't help with that. I can track things."
    jobs = await kube.items(JOBS, team.team)
    assert [(job["status"].get("succeeded"), job["status"].get("failed")) for job in jobs] == [(1, None)] * 4
    for pod in await kube.items(PODS, team.team):
        images = [one["image"] for one in pod["spec"]["containers"]]
        assert all(image.startswith(f"{cluster.registry.name}/plumbline/") and "@sha256:" in image for image in images)
    outside = cluster.firewall.refused()
    assert outside == [], "something wished to leave the site"
