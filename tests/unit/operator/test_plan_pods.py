"""What every pod looks like: it may do its work and nothing else, wherever it runs."""

from dataclasses import replace
from typing import Any

import pytest

from plumbline_api.names import (
    CONTAINER_ENGINE,
    CONTAINER_GUARD,
    MOUNT_SCRATCH,
    MOUNT_STORE_AUTHORITY,
    ExitCode,
    Image,
)
from plumbline_operator.observed import ObjectStore
from tests.support import build, planned

Manifest = dict[str, Any]
TEMPLATES = planned.pod_templates()
every_pod = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)


def containers(template: Manifest) -> list[Manifest]:
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def knows_store(container: Manifest) -> bool:
    """The guard and a stranger's engine touch no artifact."""
    return bool(container["name"] != CONTAINER_GUARD and container["image"] != build.RUNTIME.images[Image.VLLM])


def job_spec(**more: Any) -> Manifest:
    return dict(planned.stage(**more)[-1].manifest["spec"])


@every_pod
def test_a_pod_satisfies_the_restricted_standard(template: Manifest) -> None:
    security = template["spec"]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert (security["runAsUser"], security["runAsGroup"]) == (65532, 65532)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(template):
        rights = container["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}


@every_pod
def test_a_pod_has_no_token_and_learns_of_no_services(template: Manifest) -> None:
    assert template["spec"]["automountServiceAccountToken"] is False
    assert template["spec"]["enableServiceLinks"] is False


@every_pod
def test_a_container_writes_to_its_volumes_only_and_has_a_home_there(template: Manifest) -> None:
    empty = {volume["name"] for volume in template["spec"]["volumes"] if "emptyDir" in volume}
    for container in containers(template):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in empty}
        variables = {entry["name"]: entry["value"] for entry in container["env"]}
        assert MOUNT_SCRATCH in writable
        assert {variables["HOME"], variables["TMPDIR"]} <= writable


@every_pod
def test_every_volume_that_is_mounted_is_there(template: Manifest) -> None:
    volumes = {volume["name"] for volume in template["spec"]["volumes"]}
    for container in containers(template):
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert len(set(paths)) == len(paths)


@every_pod
def test_images_are_pulled_with_the_secrets_of_the_settings(template: Manifest) -> None:
    assert template["spec"]["imagePullSecrets"] == [{"name": "registry-login"}]


@pytest.mark.parametrize(("name", "account"), [("stage", "trainer"), ("evaluation", "evaluator"), ("serving", "guard")])
def test_each_program_has_a_service_account_of_its_own(name: str, account: str) -> None:
    assert TEMPLATES[name]["spec"]["serviceAccountName"] == account


@every_pod
def test_the_store_is_mounted_for_all_but_the_guard_and_a_strangers_engine(template: Manifest) -> None:
    for container in containers(template):
        paths = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "store"}
        assert paths == ({"/plumbline/store"} if knows_store(container) else set())


IN_BUCKET = planned.pod_templates(planned.BUCKET)


@pytest.mark.parametrize("template", IN_BUCKET.values(), ids=IN_BUCKET)
def test_an_object_store_is_reached_by_variables_that_these_do_not_have_either(template: Manifest) -> None:
    for container in containers(template):
        plain = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
        secret = {entry["name"]: entry["valueFrom"] for entry in container["env"] if "valueFrom" in entry}
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        if not knows_store(container):
            assert not secret
            assert not [name for name in plain if name.startswith("AWS_")]
            assert MOUNT_STORE_AUTHORITY not in mounts
            continue
        assert plain["AWS_ENDPOINT_URL_S3"] == "https://objects.internal:9000"
        assert plain["AWS_DEFAULT_REGION"] == "here-1"
        assert plain["AWS_CA_BUNDLE"] == f"{MOUNT_STORE_AUTHORITY}/ca.crt"
        assert mounts[MOUNT_STORE_AUTHORITY]["readOnly"] is True
        assert secret == {
            "AWS_ACCESS_KEY_ID": {"secretKeyRef": {"name": "store-login", "key": "AWS_ACCESS_KEY_ID"}},
            "AWS_SECRET_ACCESS_KEY": {"secretKeyRef": {"name": "store-login", "key": "AWS_SECRET_ACCESS_KEY"}},
            "AWS_SESSION_TOKEN": {
                "secretKeyRef": {"name": "store-login", "key": "AWS_SESSION_TOKEN", "optional": True}
            },
        }


@pytest.mark.parametrize("template", IN_BUCKET.values(), ids=IN_BUCKET)
def test_with_an_object_store_no_claim_is_mounted(template: Manifest) -> None:
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    assert not [volume for volume in volumes.values() if "persistentVolumeClaim" in volume]
    items = [{"key": "ca.crt", "path": "ca.crt"}]
    assert volumes["store-authority"]["configMap"] == {"name": "site-authority", "items": items}
    for container in containers(template):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()


def test_the_authority_of_an_object_store_may_be_in_a_secret_and_the_credentials_the_clouds() -> None:
    runtime = replace(planned.BUCKET, object_store=ObjectStore(authority_secret="site-authority"))
    for template in planned.pod_templates(runtime).values():
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        assert volumes["store-authority"]["secret"]["secretName"] == "site-authority"
        variables = {entry["name"] for container in containers(template) for entry in container["env"]}
        assert {name for name in variables if name.startswith("AWS_")} == {"AWS_CA_BUNDLE"}


def test_without_settings_a_pod_names_no_account_no_secret_and_no_claim() -> None:
    for template in planned.pod_templates(build.RUNTIME).values():
        assert {"serviceAccountName", "imagePullSecrets"} & set(template["spec"]) == set()
        assert "store" not in {volume["name"] for volume in template["spec"]["volumes"]}


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name.endswith("full")])
def test_a_pod_runs_where_its_spec_says(name: str) -> None:
    spec = TEMPLATES[name]["spec"]
    assert spec["nodeSelector"] == {"pool": "gpus"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


@pytest.mark.parametrize(
    ("name", "who"),
    [("stage, full", "worker"), ("evaluation, full", CONTAINER_ENGINE), ("serving, full", CONTAINER_ENGINE)],
)
def test_gpus_are_asked_for_by_the_one_container_that_computes(name: str, who: str) -> None:
    asked = {made["name"] for made in containers(TEMPLATES[name]) if "nvidia.com/gpu" in made["resources"]["limits"]}
    assert asked == {who}
    (chosen,) = [made for made in containers(TEMPLATES[name]) if made["name"] == who]
    assert chosen["resources"]["limits"]["nvidia.com/gpu"] == chosen["resources"]["requests"]["nvidia.com/gpu"] == "2"


# Jobs


def test_a_disruption_is_looked_for_before_any_exit_code() -> None:
    rules = job_spec()["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "Ignore", "FailJob"]
    assert rules[0]["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert rules[1]["onExitCodes"]["values"] == [ExitCode.PREEMPTED]
    assert ExitCode.UNAVAILABLE not in rules[2]["onExitCodes"]["values"]


def test_a_pod_is_replaced_when_it_has_ended_and_not_before() -> None:
    assert job_spec()["podReplacementPolicy"] == "Failed"


def test_a_job_without_a_queue_starts_at_once() -> None:
    assert "suspend" not in job_spec()


def test_a_queued_job_waits_from_the_first_moment_and_its_pods_know_nothing_of_queues() -> None:
    manifest = planned.stage(queue={"name": "gpu-queue", "priorityClass": "research"})[-1].manifest
    queue = {"kueue.x-k8s.io/queue-name": "gpu-queue", "kueue.x-k8s.io/priority-class": "research"}
    assert manifest["spec"]["suspend"] is True
    assert queue.items() <= manifest["metadata"]["labels"].items()
    assert not queue.keys() & manifest["spec"]["template"]["metadata"]["labels"].keys()


def test_nothing_of_the_owners_metadata_reaches_its_children() -> None:
    for children in (planned.stage(), planned.evaluation(), planned.serving(replicas=2)):
        for child in children:
            assert set(child.manifest["metadata"]) == {"name", "namespace", "labels"}
            known = ("plumbline.dev/", "app.kubernetes.io/managed-by", "kueue.x-k8s.io/")
            assert all(label.startswith(known) for label in child.manifest["metadata"]["labels"])


def test_an_evaluation_that_no_node_takes_becomes_another_job_when_its_placement_changes() -> None:
    names = {planned.evaluation(compute={"nodeSelector": {"pool": pool}})[-1].ref.name for pool in ("a", "b")}
    assert len(names) == 2


def test_an_evaluator_waits_for_its_engine_by_itself_because_no_probe_reaches_loopback() -> None:
    (engine,) = TEMPLATES["evaluation"]["spec"]["initContainers"]
    assert not {"startupProbe", "readinessProbe", "livenessProbe"} & set(engine)
    assert "--wait" in TEMPLATES["evaluation"]["spec"]["containers"][0]["args"]
