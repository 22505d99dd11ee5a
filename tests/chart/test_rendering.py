"""What the chart renders, over a matrix of values, by both Helms and for five releases of Kubernetes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbline_api.manifests import parse_manifests
from plumbline_api.names import Image, Kind
from plumbline_operator.kube.permissions import (
    NEEDED,
    NEEDED_FOR_JOB_SETS,
    NEEDED_FOR_LEASE,
    NEEDED_FOR_REVIEWS,
    Permission,
    needed_for_authority,
)
from plumbline_operator.kube.settings import settings_from
from plumbline_operator.observed import ObjectStore, Runtime
from tests.chart.argocd import ARGOCD, discover, health_of
from tests.chart.helm import CHART, DIGESTS, VALUES, Helm, Object, Rendering, find, images_in, pods_in, values_of
from tests.chart.schemas import complaints
from tests.chart.stories import fresh
from tests.support import build, planned

pytestmark = pytest.mark.cluster

RELEASES = ("1.33.0", "1.34.0", "1.35.0", "1.36.0", "1.37.0")
SENTINEL = "sentinel.example:5000"
WITHOUT_SCHEMA = {"CustomResourceDefinition", "ServiceMonitor", "PrometheusRule"}
"""CRDs are put to the real API server; the other two are of Prometheus' operator."""


@pytest.fixture(params=VALUES, ids=lambda path: path.stem)
def values(request: pytest.FixtureRequest) -> Object:
    return values_of(request.param)


def rendered(helm: Helm, name: str, **more: Any) -> list[Object]:
    """The objects of one file of values."""
    (path,) = [path for path in VALUES if path.stem == name]
    return helm.render(Rendering(values_of(path, **more)))


# Form


def test_lint_has_nothing_to_say(helm: Helm, values: Object) -> None:
    said = helm.run("lint", "--strict", str(CHART), "-f", "-", text=yaml.safe_dump(values)).stdout
    assert re.findall(r"^\[(?:WARNING|ERROR)\].*", said, re.MULTILINE) == []
    assert "1 chart(s) linted, 0 chart(s) failed" in said


def test_both_helms_render_the_same(helm: Helm, helm4: Helm, values: Object) -> None:
    assert helm.render(Rendering(values)) == helm4.render(Rendering(values))


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_of_kubernetes_knows_every_field(helm4: Helm, values: Object, release: str) -> None:
    things = helm4.render(Rendering(values, kubernetes=release))
    checked = [thing for thing in things if thing["kind"] not in WITHOUT_SCHEMA]
    assert len(checked) >= 4
    assert [words for thing in checked for words in complaints(thing, release)] == []


def test_an_unknown_field_would_be_noticed() -> None:
    thing = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"sellector": {}}}
    (words,) = complaints(thing, "1.34.0")
    assert "sellector" in words


def test_an_older_kubernetes_is_refused(helm: Helm) -> None:
    done = helm.template(Rendering(DIGESTS, kubernetes="1.31.9"), check=False)
    assert done.returncode != 0
    assert ">=1.32" in done.stderr


def test_two_objects_never_have_one_name(helm4: Helm, values: Object) -> None:
    things = helm4.render(Rendering(values))
    ids = [(thing["kind"], thing["metadata"].get("namespace"), thing["metadata"]["name"]) for thing in things]
    assert len(set(ids)) == len(ids)


def test_what_has_a_namespace_names_it(helm4: Helm, values: Object) -> None:
    everywhere = re.compile("Cluster|CustomResourceDefinition|ValidatingAdmissionPolicy")
    for thing in helm4.render(Rendering(values)):
        assert bool(everywhere.search(thing["kind"])) != ("namespace" in thing["metadata"]), thing["kind"]


# Values


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"watchNamespace": ["a"]}, "watchNamespace"),
        ({"operator": {"replica": 2}}, "replica"),
        ({"images": {"trainer": {"digset": ""}}}, "digset"),
        ({"images": {"trainer": {"digest": "sha256:123"}}}, "digest"),
        ({"operator": {"workers": 4}}, "workers"),
        ({"operator": {"workers": "48"}}, "workers"),
        ({"watchNamespaces": "a"}, "watchNamespaces"),
        ({"watchNamespaces": ["No"]}, "watchNamespaces"),
        ({"store": {"uri": "/models"}}, "uri"),
        ({"store": {"uri": "oci://models/a"}}, "uri"),
        ({"store": {"uri": "s3://a", "s3": {"endpoint": "objects.internal"}}}, "endpoint"),
        ({"store": {"uri": "s3://a", "s3": {"secretKey": "abc"}}}, "secretKey"),
        ({"store": {"uri": "s3://a", "s3": {"caSecret": "a", "caConfigMap": "b"}}}, "exclude each other"),
        ({"trust": {"keys": {"a": "secret"}}}, "trust"),
        ({"trust": {"key": {}}}, "trust"),
        ({"store": {"s3": {"credentialsSecret": "a"}}}, "store.uri is file:///plumbline/store; write s3://"),
        ({"store": {"claim": {"accessModes": ["Everywhere"]}}}, "accessModes"),
        ({"workloads": {"egress": [{"port": 1}]}}, "egress"),
        ({"admission": {"trustedUsers": ["it's"]}}, "trustedUsers"),
        ({"progress": {"port": 8080}}, "port"),
        ({"progress": {"certificateSecret": "Not A Name"}}, "certificateSecret"),
    ],
)
def test_a_mistake_in_the_values_is_refused_by_name(helm: Helm, wrong: Object, named: str) -> None:
    done = helm.template(Rendering({**DIGESTS, **wrong}), check=False)
    assert done.returncode != 0
    assert named in done.stderr


def test_every_missing_digest_is_named_at_once(helm: Helm) -> None:
    done = helm.template(Rendering({"images": {"guard": DIGESTS["images"]["guard"]}}), check=False)
    assert done.returncode != 0
    assert "not set: images.trainer.digest, images.evaluator.digest, images.engine.digest; give each" in done.stderr


def test_all_namespaces_and_some_exclude_each_other(helm4: Helm) -> None:
    done = helm4.template(Rendering({**DIGESTS, "clusterWide": True, "watchNamespaces": ["a"]}), check=False)
    assert "clusterWide and watchNamespaces exclude each other" in done.stderr


# Images


def planned_images(runtime: Runtime) -> set[str]:
    """Every image of the pods that the operator would make."""
    return set(images_in(list(planned.pod_templates(runtime).values())))


def runtime_of(things: list[Object]) -> Runtime:
    return settings_from(environment(things)).runtime


def environment(things: list[Object]) -> dict[str, str]:
    """The operator's variables, with the file about pods in place of its path."""
    (container,) = find(things, "Deployment")["spec"]["template"]["spec"]["containers"]
    found = {variable["name"]: variable.get("value", "pod-1") for variable in container["env"]}
    return {**found, "PLUMBLINE_PODS": json.dumps(pods_in(things))}


def test_one_registry_serves_every_image_and_nothing_else_is_named(helm: Helm) -> None:
    things = rendered(helm, "everything-on", **{"global": {"imageRegistry": SENTINEL}})
    named = {*images_in(things), *pods_in(things)["images"].values(), *planned_images(runtime_of(things))}
    assert len(named) == 6
    assert {image.partition("/")[0] for image in named} == {SENTINEL}
    # Neither a template nor anything else has an image of its own.
    assert "registry.internal" not in json.dumps(things)


def test_the_pods_of_the_operator_have_the_charts_images(helm4: Helm, values: Object) -> None:
    things = helm4.render(Rendering(values))
    told = pods_in(things)["images"]
    vllm = values["images"].get("vllm", {}).get("digest")
    own = {f"plumbline/{image}@{DIGESTS['images'][image]['digest']}" for image in Image if image.required}
    assert {"/".join(image.split("/")[-2:]) for image in told.values()} == {
        *own, *([f"vllm/vllm-openai@{vllm}"] if vllm else [])
    }  # fmt: skip
    assert planned_images(runtime_of(things)) == set(told.values())


def test_a_digest_wins_over_a_tag(helm: Helm) -> None:
    def image(**operator: str) -> str:
        things = helm.render(Rendering({"images": {**DIGESTS["images"], "operator": operator}}))
        return str(find(things, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"])

    some = build.digest("operator")
    assert image() == "registry.internal/plumbline/operator:0.1.0"
    assert image(tag="nightly") == "registry.internal/plumbline/operator:nightly"
    assert image(tag="nightly", digest=some) == f"registry.internal/plumbline/operator@{some}"


# Settings


def test_the_operator_takes_its_settings_from_the_chart(helm4: Helm, values: Object) -> None:
    settings = settings_from(environment(helm4.render(Rendering(values))))
    release = "plumbline-system"
    assert settings.namespaces == tuple(
        values.get("watchNamespaces") or ([] if values.get("clusterWide") else [release])
    )
    assert (settings.lease_namespace, settings.port, settings.workers) == (release, 8080, 48)


def test_settings_of_pods_reach_the_operator(helm4: Helm) -> None:
    runtime = runtime_of(rendered(helm4, "everything-on"))
    assert (runtime.store, runtime.store_claim) == ("file:///data/plumbline", "shared")
    assert runtime.service_accounts == {
        Image.TRAINER: "aligned-trainer",
        Image.EVALUATOR: "aligned-evaluator",
        Image.GUARD: "aligned-guard",
    }
    assert runtime.pull_secrets == ("pull-one", "pull-two")
    assert runtime.egress == (
        {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443, "protocol": "TCP"}]},
    )
    assert runtime.start_deadline is None


def test_nothing_leaves_the_pods_unless_it_is_declared(helm4: Helm) -> None:
    assert runtime_of(rendered(helm4, "default")).egress == ()
    assert runtime_of(rendered(helm4, "everything-off")).egress is None


def test_an_object_store_needs_no_claim(helm4: Helm) -> None:
    things = rendered(helm4, "object-store")
    runtime = runtime_of(things)
    assert (runtime.store, runtime.store_claim) == ("s3://models/plumbline", None)
    assert runtime.object_store == ObjectStore(
        endpoint="https://objects.internal:9000",
        region="here-1",
        credentials="store-login",
        authority_config_map="site-authority",
    )
    (container,) = find(things, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert "store-login" not in str(container), "the operator needs no credentials"
    assert "PersistentVolumeClaim" not in {thing["kind"] for thing in things}


def test_the_keys_that_are_trusted_come_to_the_pods_as_they_are(helm4: Helm) -> None:
    (path,) = [path for path in VALUES if path.stem == "object-store"]
    given = values_of(path)["trust"]["keys"]["people"]
    assert runtime_of(rendered(helm4, "object-store")).trust == given
    assert runtime_of(rendered(helm4, "default")).trust is None


def test_the_operators_pod_is_probed_spread_and_given_time_to_end(helm4: Helm) -> None:
    pod = find(rendered(helm4, "default"), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    probes = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert {one["topologyKey"].rpartition("/")[2] for one in pod["topologySpreadConstraints"]} == {"hostname", "zone"}
    # The operator ends within four seconds; the kubelet waits longer than that, and not for ever.
    assert pod["terminationGracePeriodSeconds"] == 30
    assert pod["enableServiceLinks"] is False, "or the Service would set PLUMBLINE_PORT"


# Rights


def permissions(rules: list[Object]) -> set[Permission]:
    return {
        Permission(group, resource, verb, name)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


REVIEWS = ("", "plumbline.plumbline-system.reviews")
WATCHED = {*NEEDED, *NEEDED_FOR_JOB_SETS}
"""What is needed in a namespace with objects of ours, JobSets included."""


def granted(things: list[Object], kind: str) -> dict[tuple[str, str], set[Permission]]:
    """What roles of a kind let the operator do, by the namespace and the name of the role."""
    subject = {"kind": "ServiceAccount", "name": "plumbline", "namespace": "plumbline-system"}
    bound = {
        (thing["metadata"].get("namespace", ""), thing["roleRef"]["name"])
        for thing in things
        if thing["kind"] == f"{kind}Binding" and thing["subjects"] == [subject]
    }
    roles = {
        (thing["metadata"].get("namespace", ""), thing["metadata"]["name"]): permissions(thing["rules"])
        for thing in things
        if thing["kind"] == kind and "aggregate" not in str(thing["metadata"]["labels"])
    }
    assert set(roles) == bound
    return roles


def test_roles_hold_the_operators_own_table_and_no_more(helm4: Helm) -> None:
    lease = ("plumbline-system", "plumbline-lease")
    here = ("plumbline-system", "plumbline.plumbline-system")
    things = rendered(helm4, "default")
    authority = ("plumbline-system", "plumbline-progress")
    assert granted(things, "Role") == {
        here: WATCHED, lease: set(NEEDED_FOR_LEASE), authority: set(needed_for_authority("plumbline-progress"))
    }  # fmt: skip
    assert granted(things, "ClusterRole") == {REVIEWS: set(NEEDED_FOR_REVIEWS)}


def test_each_watched_namespace_gets_a_role(helm4: Helm) -> None:
    roles = granted(rendered(helm4, "several-namespaces"), "Role")
    assert {namespace for (namespace, _), rules in roles.items() if rules == WATCHED} == {"research", "product"}


def test_all_namespaces_need_a_cluster_role_and_only_the_lease_another(helm4: Helm) -> None:
    things = rendered(helm4, "cluster-wide")
    everywhere = ("", "plumbline.plumbline-system")
    assert granted(things, "ClusterRole") == {everywhere: WATCHED, REVIEWS: set(NEEDED_FOR_REVIEWS)}
    assert set(granted(things, "Role")) == {
        ("plumbline-system", "plumbline-lease"), ("plumbline-system", "plumbline-progress")
    }  # fmt: skip


def test_no_role_is_wide(helm4: Helm, values: Object) -> None:
    rules = [rule for thing in helm4.render(Rendering(values)) for rule in thing.get("rules", ())]
    found = permissions([rule for rule in rules if isinstance(rule, dict) and "apiGroups" in rule])
    assert not [one for one in found if "*" in (one.group, one.resource, one.verb)]
    secrets = {(one.verb, one.name) for one in found if one.resource == "secrets"}
    assert secrets <= {("create", ""), ("get", "plumbline-progress")}
    assert not [one for one in found if one.verb in ("escalate", "bind", "impersonate", "deletecollection")]


def test_no_account_hands_out_a_token_by_itself(helm4: Helm, values: Object) -> None:
    accounts = [thing for thing in helm4.render(Rendering(values)) if thing["kind"] == "ServiceAccount"]
    assert all(account["automountServiceAccountToken"] is False for account in accounts)
    if values.get("workloads", {}).get("serviceAccounts", {}).get("create", True):
        assert {"trainer", "evaluator", "guard"} <= {name["metadata"]["name"].rpartition("-")[2] for name in accounts}


# Switches


def kinds(helm: Helm, name: str, apis: tuple[str, ...] = (), **more: Any) -> set[str]:
    (path,) = [path for path in VALUES if path.stem == name]
    return {thing["kind"] for thing in helm.render(Rendering(values_of(path, **more), apis=apis))}


def test_monitoring_is_rendered_where_it_is_asked_for_and_known(helm4: Helm) -> None:
    both = {"ServiceMonitor", "PrometheusRule"}
    assert kinds(helm4, "everything-on", ("monitoring.coreos.com/v1",)) >= both
    assert not kinds(helm4, "everything-on") & both
    assert not kinds(helm4, "default", ("monitoring.coreos.com/v1",)) & both


def test_a_disruption_budget_needs_two_replicas(helm4: Helm) -> None:
    assert "PodDisruptionBudget" in kinds(helm4, "default")
    assert "PodDisruptionBudget" not in kinds(helm4, "several-namespaces")


def test_switched_off_is_not_there(helm4: Helm) -> None:
    # The pod is helm's own test.
    assert kinds(helm4, "everything-off") == {"Deployment", "Service", "ConfigMap", "Pod"}


def test_crds_are_kept_and_are_the_committed_ones(helm: Helm) -> None:
    found = [thing for thing in rendered(helm, "default") if thing["kind"] == "CustomResourceDefinition"]
    for kind, thing in zip(sorted(Kind), sorted(found, key=lambda one: str(one["spec"]["names"]["kind"])), strict=True):
        metadata = thing["metadata"]
        assert metadata["annotations"] == {"helm.sh/resource-policy": "keep"}
        committed = yaml.safe_load((CHART.parents[1] / "crds" / f"{metadata['name']}.yaml").read_text(encoding="utf-8"))
        assert thing["spec"] == committed["spec"]
        assert thing["spec"]["names"]["kind"] == kind


# Argo CD


def test_argocd_gets_the_scripts_that_are_tested(helm: Helm) -> None:
    data = find(rendered(helm, "everything-on"), "ConfigMap", "aligned-argocd")["data"]
    prefix = "resource.customizations"
    script = data[f"{prefix}.health.plumbline.dev_EvalGate"]
    assert health_of(script, fresh(build.gate())).status == "Progressing"
    assert {data[f"{prefix}.health.plumbline.dev_{kind}"].strip() for kind in Kind} == {script.strip()}
    actions = yaml.safe_load(data[f"{prefix}.actions.plumbline.dev_AlignmentRun"])
    offered = discover(actions["discovery.lua"], fresh(build.run()))
    assert set(offered) == {one["name"] for one in actions["definitions"]}
    for one in actions["definitions"]:
        assert one["action.lua"].strip() == (ARGOCD / f"{one['name']}.lua").read_text(encoding="utf-8").strip()
    ignored = yaml.safe_load((ARGOCD / "ignore-updates.yaml").read_text(encoding="utf-8"))
    for kind, paths in ignored.items():
        assert yaml.safe_load(data[f"{prefix}.ignoreResourceUpdates.plumbline.dev_{kind}"]) == paths
    assert len(data) == len(Kind) + 2 + len(ignored)


# Notes


def test_the_first_manifest_of_the_notes_is_valid(helm4: Helm, tmp_path: Path) -> None:
    shown = (CHART / "templates/NOTES.txt").read_text(encoding="utf-8")
    text = re.findall(r"    # run.yaml\n((?:    .*\n)+)", shown)[0].replace("{{ $where }}", "research")
    found = parse_manifests(re.sub("^    ", "", text, flags=re.MULTILINE), "run.yaml")
    assert found.problems == ()
    assert found.objects[0].object.kind == Kind.ALIGNMENT_RUN
