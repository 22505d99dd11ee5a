"""A stage of several nodes: what is made for it, how its pods find each other, and what their ends mean."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from plumbline_api.names import LABEL_GANG, ExitCode, gang_name
from plumbline_api.runfile import RunFile
from plumbline_operator.decision import Child
from plumbline_operator.observed import Runtime
from plumbline_operator.plan.network import reaches_dns
from tests.support import build, planned

JOB_SETS = replace(planned.CLUSTER, job_sets=True)
Manifest = dict[str, Any]


def stage(runtime: Runtime = planned.CLUSTER, nodes: int = 4, **more: Any) -> dict[str, Child]:
    """The children of a stage by kind; of two NetworkPolicies the nodes' own."""
    return {child.ref.kind: child for child in planned.stage(runtime, compute={"nodes": nodes}, **more)}


def job_spec(runtime: Runtime = planned.CLUSTER, **more: Any) -> Manifest:
    if not runtime.job_sets:
        return dict(stage(runtime, **more)["Job"].manifest["spec"])
    (group,) = stage(runtime, **more)["JobSet"].manifest["spec"]["replicatedJobs"]
    return dict(group["template"]["spec"])


def worker(spec: Manifest) -> Manifest:
    (found,) = spec["template"]["spec"]["containers"]
    return dict(found)


both = pytest.mark.parametrize("runtime", [planned.CLUSTER, JOB_SETS], ids=["Job", "JobSet"])


@both
def test_there_is_a_pod_for_each_node_and_the_first_decides_over_success(runtime: Runtime) -> None:
    spec = job_spec(runtime)
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert spec["successPolicy"]["rules"] == [{"succeededIndexes": "0"}]


@both
def test_every_pod_knows_how_many_there_are_which_it_is_and_where_the_first_is(runtime: Runtime) -> None:
    spec = job_spec(runtime)
    env = {entry["name"]: entry for entry in worker(spec)["env"]}
    assert env["PET_NNODES"]["value"] == "4"
    field = env["PET_NODE_RANK"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    name = spec["template"]["spec"]["subdomain"]
    first = f"{name}-n-0-0" if runtime.job_sets else f"{name}-0"
    assert env["PET_MASTER_ADDR"]["value"] == f"{first}.{name}"
    (port,) = worker(spec)["ports"]
    assert env["PET_MASTER_PORT"]["value"] == "$(PLUMBLINE_PORT_MASTER)"
    assert env["PLUMBLINE_PORT_MASTER"]["value"] == str(port["containerPort"])
    names = [entry["name"] for entry in worker(spec)["env"]]
    assert names.index("PLUMBLINE_PORT_MASTER") < names.index("PET_MASTER_PORT")


def test_a_headless_service_names_the_pods_before_they_are_ready() -> None:
    children = stage()
    name = children["Job"].ref.name
    service = children["Service"].manifest
    assert service["metadata"]["name"] == name
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    labels = children["Job"].manifest["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["selector"][LABEL_GANG] == name


@both
def test_pods_of_one_job_reach_each_other_and_nobody_else_reaches_them(runtime: Runtime) -> None:
    policies = [
        child.manifest["spec"]
        for child in planned.stage(runtime, compute={"nodes": 2})
        if child.ref.kind == "NetworkPolicy"
    ]
    declared, own = policies
    assert declared["ingress"] == []
    (peers,) = own["ingress"]
    assert peers == {"from": [{"podSelector": own["podSelector"]}]}
    assert own["egress"] == [{"to": [{"podSelector": own["podSelector"]}]}]
    assert own["podSelector"]["matchLabels"][LABEL_GANG]


def test_nobody_else_reaches_them_either_where_no_ways_out_are_declared() -> None:
    policy = stage(build.RUNTIME)["NetworkPolicy"].manifest["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert len(policy["ingress"]) == 1


def test_tries_are_counted_by_node() -> None:
    spec = job_spec()
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"]) == (3, 0)
    assert "backoffLimit" not in spec


@both
def test_fatal_ends_fail_the_job_at_once_and_lost_peers_do_not_count(runtime: Runtime) -> None:
    disrupted, lost, fatal = job_spec(runtime)["podFailurePolicy"]["rules"]
    assert disrupted["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert disrupted["action"] == ("FailJob" if runtime.job_sets else "Ignore")
    assert (lost["action"], lost["onExitCodes"]["values"]) == ("Ignore", [ExitCode.PREEMPTED])
    assert (fatal["action"], fatal["onExitCodes"]["values"]) == ("FailJob", [64, 65, 77, 78])


def test_a_job_set_begins_anew_together_and_disruptions_do_not_count() -> None:
    policy = stage(JOB_SETS)["JobSet"].manifest["spec"]["failurePolicy"]
    assert (policy["maxRestarts"], policy["restartStrategy"]) == (3, "BlockingRecreate")
    late, disrupted, fatal = policy["rules"]
    assert (late["onJobFailureReasons"], late["action"]) == (["DeadlineExceeded"], "FailJobSet")
    assert disrupted["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert disrupted["onJobFailureMessagePatterns"] == ["has condition DisruptionTarget "]
    assert (fatal["onJobFailureReasons"], fatal["action"]) == (["PodFailurePolicy"], "FailJobSet")
    assert job_spec(JOB_SETS)["backoffLimit"] == 0


def test_a_job_set_brings_its_own_service_and_is_held_by_its_queue() -> None:
    children = stage(JOB_SETS, queue={"name": "gpus"})
    manifest = children["JobSet"].manifest
    assert "Service" not in children
    assert manifest["spec"]["network"]["subdomain"] == children["JobSet"].ref.name
    assert manifest["spec"]["suspend"] is True
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    (group,) = manifest["spec"]["replicatedJobs"]
    assert not any(label.startswith("kueue") for label in group["template"]["metadata"]["labels"])


@pytest.mark.parametrize("owner", ["a" * 40, "0" * 40, "1-" * 20])
def test_names_leave_room_for_those_that_kubernetes_makes_of_them(owner: str) -> None:
    name = gang_name(owner, "s" * 40, "content")
    assert len(f"{name}-n-0-63-abcde") <= 63
    assert name[0].isalpha()
    assert not name.endswith("-")


def orders_of(children: Iterable[Child]) -> RunFile:
    config = next(child for child in children if child.ref.kind == "ConfigMap")
    return RunFile.read(config.manifest["data"]["run.json"])


def test_a_stage_of_one_node_is_the_job_that_it_always_was() -> None:
    children = planned.stage(JOB_SETS)
    assert [child.ref.kind for child in children] == ["NetworkPolicy", "ConfigMap", "Job"]
    spec = children[-1].manifest["spec"]
    assert not {"completions", "completionMode", "successPolicy"} & set(spec)
    assert "subdomain" not in spec["template"]["spec"]
    assert not any(entry["name"].startswith("PET_") for entry in worker(spec)["env"])


def test_the_number_of_gpus_is_told_and_part_of_what_the_result_depends_on() -> None:
    asked: tuple[dict[str, Any], ...] = ({}, {"gpu": {}}, {"gpu": {"count": 2}})
    orders = [orders_of(planned.stage(compute=compute)) for compute in asked]
    assert [one.gpus for one in orders] == [0, 1, 2]
    assert len({one.cache_key for one in orders}) == 3


def test_the_number_of_nodes_is_part_of_what_the_result_depends_on_unless_it_is_one() -> None:
    def key(**compute: Any) -> str:
        return orders_of(planned.stage(compute=compute)).cache_key

    assert key() == key(nodes=1)
    assert len({key(nodes=count) for count in (1, 2, 3)}) == 3


def test_the_key_of_one_node_is_that_of_before_there_could_be_more() -> None:
    children = planned.stage(build.RUNTIME)
    config = next(child for child in children if child.ref.kind == "ConfigMap")
    assert orders_of(children).cache_key == "sha256:6fefca675429b53cb58e93e7dca92347907028358e7102be548334fa1f9a2faa"
    assert config.ref.name == "base-s0-2978eb59f3"


@pytest.mark.parametrize(
    ("egress", "found"),
    [
        (None, True),
        ((), False),
        (({"ports": [{"port": 443}]},), False),
        (({"ports": [{"port": 53}]},), False),
        (({"ports": [{"port": 53, "protocol": "UDP"}]},), True),
        (({"ports": [{"port": 1, "endPort": 1024, "protocol": "UDP"}]},), True),
        (({"ports": [{"port": "dns", "protocol": "UDP"}]},), True),
        (({"to": [{"podSelector": {}}]},), True),
        (({"ports": [{"protocol": "UDP"}]},), True),
    ],
)
def test_dns_is_reached_where_it_is_declared(egress: Any, found: bool) -> None:  # noqa: FBT001 - a row of the table
    assert reaches_dns(replace(build.RUNTIME, egress=egress)) is found
