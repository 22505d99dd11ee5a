"""Where the operator listens to progress, as the chart renders it: for operator and pods, in roles and policies."""

from pathlib import Path

import pytest

from plumbline_operator.kube.settings import settings_from
from tests.chart.helm import VALUES, Helm, Object, Rendering, find, pods_in, values_of
from tests.chart.test_rendering import environment, granted

pytestmark = pytest.mark.cluster


@pytest.fixture(params=VALUES, ids=lambda path: path.stem)
def values(request: pytest.FixtureRequest) -> Object:
    return values_of(request.param)


def test_without_progress_there_is_no_right_outside_the_namespaces(helm4: Helm) -> None:
    (path,) = [path for path in VALUES if path.stem == "default"]
    things = helm4.render(Rendering(values_of(path, progress={"enabled": False})))
    assert granted(things, "ClusterRole") == {}
    assert set(granted(things, "Role")) == {
        ("plumbline-system", "plumbline.plumbline-system"), ("plumbline-system", "plumbline-lease")
    }  # fmt: skip
    assert "progress" not in pods_in(things)
    assert settings_from(environment(things)).progress is None
    ports = find(things, "Service")["spec"]["ports"]
    assert [port["name"] for port in ports] == ["http"]


def test_a_certificate_of_ones_own_needs_no_right_to_secrets(helm4: Helm) -> None:
    (path,) = [path for path in VALUES if path.stem == "default"]
    things = helm4.render(Rendering(values_of(path, progress={"certificateSecret": "mine"})))
    assert ("plumbline-system", "plumbline-progress") not in granted(things, "Role")
    progress = settings_from(environment(things)).progress
    assert progress is not None
    assert (progress.secret, progress.certificate) == ("", Path("/etc/plumbline-certificate"))
    pod = find(things, "Deployment")["spec"]["template"]["spec"]
    assert {"name": "certificate", "secret": {"secretName": "mine"}} in pod["volumes"]


def test_pods_of_jobs_are_told_where_the_operator_listens_and_may_reach_it(helm4: Helm, values: Object) -> None:
    things = helm4.render(Rendering(values))
    progress = settings_from(environment(things)).progress
    if progress is None:
        return
    deployment, service = find(things, "Deployment"), find(things, "Service")
    metadata, spec = service["metadata"], deployment["spec"]["template"]
    (listening,) = [port for port in spec["spec"]["containers"][0]["ports"] if port["name"] == "progress"]
    (offered,) = [port for port in service["spec"]["ports"] if port["name"] == "progress"]
    assert listening["containerPort"] == offered["port"] == progress.port
    assert progress.url == f"https://{metadata['name']}.{metadata['namespace']}.svc:{progress.port}"
    (rule,) = progress.egress
    assert rule["ports"] == [{"port": progress.port, "protocol": "TCP"}]
    (peer,) = rule["to"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": metadata["namespace"]}
    assert peer["podSelector"]["matchLabels"].items() <= spec["metadata"]["labels"].items()
    policies = [one for one in things if one["kind"] == "NetworkPolicy"]
    assert all({"port": "progress", "protocol": "TCP"} in one["spec"]["ingress"][1]["ports"] for one in policies)
