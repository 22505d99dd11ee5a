import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cluster.client import KubeClient, Resource
from tests.e2e.pods import ended_pod, probe_pod, running_pod
from tests.e2e.realcluster import SITE, RealCluster

pytestmark = pytest.mark.e2e

SERVICES = Resource("", "v1", "services")
NOWHERE = "203.0.113.7"
"""An address that documents use and nobody has."""


async def test_a_service_is_reached_by_its_name(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str
) -> None:
    ports = [{"port": 80, "targetPort": 8080}]
    await kube.create(
        SERVICES, {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}, namespace
    )
    await running_pod(kube, namespace, probe_pod("web", probe, "serve", ":8080"))
    pod = await ended_pod(kube, namespace, probe_pod("client", probe, "reach", f"http://web.{namespace}.svc/hello"))
    assert pod["status"]["phase"] == "Succeeded"
    assert cluster.kubectl("logs", "client", f"--namespace={namespace}").stdout == "served /hello\n"


async def test_a_pod_reaches_the_api_server_and_that_is_recorded(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str
) -> None:
    pod = await ended_pod(kube, namespace, probe_pod("asks", probe, "dial", "kubernetes.default.svc:443"))
    assert pod["status"]["phase"] == "Succeeded"
    contacts = {(found.source, found.goal, found.port) for found in cluster.firewall.passed()}
    assert (pod["status"]["podIP"], cluster.addresses.host, cluster.plane.port) in contacts


async def test_a_question_for_an_outside_name_fails_and_is_recorded(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str
) -> None:
    pod = await ended_pod(kube, namespace, probe_pod("curious", probe, "resolve", "models.example.com"))
    assert pod["status"]["phase"] == "Failed"
    asked = {(found.source, found.name, found.code) for found in cluster.names.outside()}
    assert (pod["status"]["podIP"], "models.example.com", "NXDOMAIN") in asked


async def test_a_connection_to_the_outside_fails_and_is_recorded(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str
) -> None:
    pod = await ended_pod(kube, namespace, probe_pod("leaver", probe, "dial", f"{NOWHERE}:443"))
    assert pod["status"]["phase"] == "Failed"
    kept = {(found.source, found.goal, found.protocol, found.port) for found in cluster.firewall.refused()}
    assert (pod["status"]["podIP"], NOWHERE, "tcp", 443) in kept


async def test_a_service_of_the_site_is_reached_once_it_is_allowed(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str, site_port: int
) -> None:
    address = f"http://{SITE}:{site_port}/model"
    before = await ended_pod(kube, namespace, probe_pod("before", probe, "get", address))
    assert before["status"]["phase"] == "Failed"
    cluster.firewall.allow(site_port)
    after = await ended_pod(kube, namespace, probe_pod("after", probe, "get", address))
    cluster.firewall.forbid(site_port)
    assert after["status"]["phase"] == "Succeeded"


async def test_the_records_are_of_those_who_wanted_to_leave_and_of_nobody_else(
    cluster: RealCluster, kube: KubeClient, namespace: str, probe: str
) -> None:
    pod = await ended_pod(kube, namespace, probe_pod("quiet", probe, "resolve", "kubernetes.default.svc"))
    address = pod["status"]["podIP"]
    assert address in {found.source for found in cluster.names.questions()}
    assert address not in {found.source for found in cluster.names.outside()}
    assert address not in {found.source for found in cluster.firewall.refused()}


@pytest.fixture
def site_port(cluster: RealCluster) -> Iterator[int]:
    """Where a server of the site listens, on this machine."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((cluster.addresses.host, 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
