"""What the pods of Jobs get to report with: that and no more, and nothing of it changes a result."""

import json
from dataclasses import replace
from typing import Any

import pytest

from plumbline_api.names import status_audience, status_path
from plumbline_operator.decision import Child
from tests.support import planned

SILENT = replace(planned.CLUSTER, status_endpoint=None)
JOBS = {"stage": planned.stage, "evaluation": planned.evaluation}
each_job = pytest.mark.parametrize("plan", JOBS.values(), ids=JOBS)


def spec_of(children: tuple[Child, ...]) -> Any:
    return children[-1].manifest["spec"]["template"]["spec"]


def of_kind(children: tuple[Child, ...], kind: str) -> Any:
    (found,) = [child.manifest for child in children if child.ref.kind == kind]
    return found


@each_job
def test_the_worker_alone_has_a_token_that_names_its_job(plan: Any) -> None:
    children = plan()
    spec, name = spec_of(children), children[-1].ref.name
    (volume,) = [one for one in spec["volumes"] if "projected" in one]
    (source,) = volume["projected"]["sources"]
    audience = status_audience("default", name)
    assert source["serviceAccountToken"] == {"audience": audience, "expirationSeconds": 3600, "path": "token"}
    worker, others = spec["containers"][0], spec.get("initContainers", [])
    assert {"name": "status", "mountPath": "/plumbline/status", "readOnly": True} in worker["volumeMounts"]
    assert not [one for other in others for one in other["volumeMounts"] if one["name"] == "status"]
    assert spec["automountServiceAccountToken"] is False


@each_job
def test_the_worker_is_told_where_to_report_in_kubeflows_words(plan: Any) -> None:
    children = plan()
    told = {one["name"]: one.get("value") for one in spec_of(children)["containers"][0]["env"]}
    path = status_path("default", children[-1].ref.name)
    assert told["KUBEFLOW_TRAINER_SERVER_URL"] == f"https://plumbline.plumbline-system.svc:8443{path}"
    assert told["KUBEFLOW_TRAINER_SERVER_TOKEN"] == "/plumbline/status/token"
    assert told["KUBEFLOW_TRAINER_SERVER_CA_CERT"] == "/plumbline/run/ca.crt"
    assert of_kind(children, "ConfigMap")["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE")


@each_job
def test_no_name_server_is_needed_and_the_way_is_open(plan: Any) -> None:
    children = plan()
    host = "plumbline.plumbline-system.svc"
    assert spec_of(children)["hostAliases"] == [{"ip": "10.97.0.8", "hostnames": [host]}]
    egress = of_kind(children, "NetworkPolicy")["spec"]["egress"]
    assert egress == [planned.DNS, {"ports": [{"port": 8443, "protocol": "TCP"}]}]


@each_job
def test_where_nobody_listens_a_pod_has_nothing_of_it_and_computes_the_same(plan: Any) -> None:
    heard, silent = plan(), plan(SILENT)
    assert "hostAliases" not in spec_of(silent)
    assert not [one for one in spec_of(silent)["volumes"] if "projected" in one]
    assert "KUBEFLOW" not in json.dumps(spec_of(silent))
    assert set(of_kind(silent, "ConfigMap")["data"]) == {"run.json"}
    assert heard[-1].ref == silent[-1].ref, "the same name, so the same Job"
    assert of_kind(heard, "ConfigMap")["data"]["run.json"] == of_kind(silent, "ConfigMap")["data"]["run.json"]


def test_what_serves_reports_nothing() -> None:
    for name in ("serving", "serving, full"):
        template = planned.pod_templates()[name]
        assert "KUBEFLOW" not in json.dumps(template)
        assert not [one for one in template["spec"]["volumes"] if "projected" in one]


def test_no_policy_is_made_for_the_endpoint_where_nothing_is_declared() -> None:
    open_cluster = replace(planned.CLUSTER, egress=None)
    assert not [child for child in planned.stage(open_cluster) if child.ref.kind == "NetworkPolicy"]
