"""What stands before a served model and around it: Service, budget, network; what makes a revision."""

from dataclasses import replace
from typing import Any

import pytest

from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_GUARD
from plumbline_operator.observed import ObjectStore
from tests.support import build, planned
from tests.support.planned import CLUSTER

Manifest = dict[str, Any]


def manifests(**spec: Any) -> dict[str, Manifest]:
    """By kind."""
    return {child.ref.kind: dict(child.manifest) for child in planned.serving(**spec)}


def policy(**changes: Any) -> Manifest:
    found = [
        child for child in planned.serving(replace(CLUSTER, **changes)) if child.manifest["kind"] == "NetworkPolicy"
    ]
    return dict(found[0].manifest["spec"])


def test_the_service_leads_to_the_guard_of_every_revision_and_to_nothing_else() -> None:
    made = manifests()
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert made["Service"]["spec"]["selector"].items() <= labels.items()
    assert "plumbline.dev/revision" not in made["Service"]["spec"]["selector"]
    (port,) = made["Service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, "guard")


def test_the_service_keeps_its_name_from_revision_to_revision() -> None:
    names = {manifests(guard={"refusal": {"text": text}})["Service"]["metadata"]["name"] for text in ("No.", "Never.")}
    assert names == {"served-guard"}


def test_a_deployment_selects_its_own_pods_only() -> None:
    selectors = [
        manifests(guard={"refusal": {"text": text}})["Deployment"]["spec"]["selector"]["matchLabels"]
        for text in ("No.", "Never.")
    ]
    assert selectors[0] != selectors[1]
    made = manifests()["Deployment"]["spec"]
    assert made["selector"]["matchLabels"].items() <= made["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(("replicas", "guarded"), [(None, False), (1, False), (2, True)])
def test_a_budget_protects_more_than_one_pod(replicas: int | None, *, guarded: bool) -> None:
    made = manifests(**({} if replicas is None else {"replicas": replicas}))
    assert ("PodDisruptionBudget" in made) == guarded
    assert made["Deployment"]["spec"].get("replicas") == replicas


def test_another_number_of_pods_is_no_other_revision() -> None:
    names = {manifests(replicas=count)["Deployment"]["metadata"]["name"] for count in (1, 2, 3)}
    assert len(names) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"pull_secrets": ()},
        {"service_accounts": {}},
        {"store_claim": "other"},
        {"object_store": ObjectStore(credentials="other")},
    ],
    ids=["pull secrets", "service account", "store", "credentials"],
)
def test_settings_that_a_pod_depends_on_make_another_revision(changes: dict[str, Any]) -> None:
    before, after = (planned.serving(runtime)[-1].ref.name for runtime in (CLUSTER, replace(CLUSTER, **changes)))
    assert before != after


def test_the_same_settings_make_the_same_revision() -> None:
    assert planned.serving()[-1].ref == planned.serving()[-1].ref


def test_only_the_guards_port_lets_anybody_in_and_only_declared_ways_lead_out() -> None:
    made = policy()
    assert made["policyTypes"] == ["Ingress", "Egress"]
    assert made["ingress"] == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]
    assert made["egress"] == [planned.DNS]


def test_without_declared_ways_out_none_is_shut() -> None:
    assert policy(egress=None)["policyTypes"] == ["Ingress"]


def test_with_none_declared_all_are_shut() -> None:
    assert policy(egress=())["egress"] == []


def test_a_policy_protects_the_pods_of_its_object_whatever_their_revision() -> None:
    labels = manifests()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert policy()["podSelector"]["matchLabels"].items() <= labels.items()


def test_pods_of_jobs_let_nobody_in_and_get_a_policy_only_where_ways_out_are_declared() -> None:
    shut = planned.stage(replace(CLUSTER, status_endpoint=None))[0].manifest
    assert (shut["kind"], shut["spec"]["ingress"], shut["spec"]["egress"]) == ("NetworkPolicy", [], [planned.DNS])
    labels = planned.stage()[-1].manifest["spec"]["template"]["metadata"]["labels"]
    assert shut["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert [child.ref.kind for child in planned.stage(build.RUNTIME)] == ["ConfigMap", "Job"]


def test_another_policy_is_another_object_so_that_the_old_one_goes() -> None:
    names = {planned.stage(replace(CLUSTER, egress=egress))[0].ref.name for egress in ((), (planned.DNS,))}
    assert len(names) == 2


def test_probes_come_in_by_the_guard_because_the_engine_listens_on_loopback() -> None:
    made = manifests()["Deployment"]["spec"]["template"]["spec"]
    for container in (*made["initContainers"], *made["containers"]):
        path = {CONTAINER_GUARD: "/healthz", CONTAINER_ENGINE: "/readyz"}[container["name"]]
        assert container["readinessProbe"]["httpGet"] == {"path": path, "port": 8080}


def test_the_engine_is_up_before_its_guard_and_ends_after_it() -> None:
    made = manifests()["Deployment"]["spec"]["template"]["spec"]
    (engine,), (guard,) = made["initContainers"], made["containers"]
    assert (engine["name"], engine["restartPolicy"]) == (CONTAINER_ENGINE, "Always")
    assert "startupProbe" not in engine, "the guard, which it would ask, is started after it has succeeded"
    assert guard["startupProbe"]["httpGet"] == {"path": "/healthz", "port": 8080}


def test_a_guard_of_a_cluster_lingers_and_has_the_time_for_it() -> None:
    made = manifests()["Deployment"]["spec"]["template"]["spec"]
    words = made["containers"][0]["args"]
    linger, grace = (int(words[words.index(option) + 1]) for option in ("--linger", "--grace"))
    assert (linger, made["terminationGracePeriodSeconds"] > linger + grace) == (CLUSTER.linger, True)
    words = planned.serving(build.RUNTIME)[-1].manifest["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--linger" not in words


def test_a_guard_in_a_pod_listens_on_all_addresses() -> None:
    guard = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "PLUMBLINE_HOST", "value": "0.0.0.0"} in guard["env"]  # noqa: S104
    assert guard["args"][guard["args"].index("--host") + 1] == "$(PLUMBLINE_HOST)"


def test_no_more_pods_than_wanted_are_started_when_pods_are_replaced() -> None:
    strategy = manifests()["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 0, "maxUnavailable": 1}
