"""examples/gitops: waves that can end, the specs of the task assistant, and projects that allow what they have to.

What Argo CD makes of it is tested with Argo CD itself, in tests/e2e/argocd.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbline_api.manifests import Located
from plumbline_operator.cli.manifests import load_manifests
from tests.support.checkout import ROOT

EXAMPLE = ROOT / "examples/gitops"
TEAM = EXAMPLE / "teams/assistant"
WAVE = "argocd.argoproj.io/sync-wave"
LAID_IN = "platform/plumbline"
"""The chart: README.md says to copy it from this repository."""

Object = dict[str, Any]


def documents(*paths: Path) -> list[Object]:
    return [document for path in paths for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


ROOT_APPLICATION, *_ = documents(EXAMPLE / "root.yaml")
APPS = documents(*sorted((EXAMPLE / "apps").glob("*.yaml")))
APPLICATIONS = [ROOT_APPLICATION, *(one for one in APPS if one["kind"] == "Application")]
PROJECTS = {one["metadata"]["name"]: one["spec"] for one in APPS if one["kind"] == "AppProject"}
MANIFESTS = documents(*sorted(TEAM.glob("*.yaml")))


def wave(thing: Object) -> int:
    return int(thing["metadata"].get("annotations", {}).get(WAVE, "0"))


def name(thing: Object) -> tuple[str, str]:
    return thing["kind"], thing["metadata"]["name"]


def test_the_teams_manifests_are_in_order() -> None:
    objects = load_manifests([TEAM])
    assert len(objects) == len(MANIFESTS)
    assert all(isinstance(found, Located) for found in objects)


def test_the_teams_specs_are_those_of_the_task_assistant() -> None:
    """So what the tests of that example show holds for this one."""
    others = {name(one): one for one in documents(*sorted((ROOT / "examples/task-assistant").glob("*.yaml")))}
    for one in MANIFESTS:
        other = others.pop(name(one))
        assert {key: one[key] for key in one if key != "metadata"} == {
            key: other[key] for key in other if key != "metadata"
        }
        assert one["metadata"].get("labels") == other["metadata"].get("labels")
    assert not others


def references(value: Any, path: str = "") -> set[tuple[str, str]]:
    """The objects that a spec names."""
    kinds = {
        ".subject.alignmentRun": "AlignmentRun", ".baseline.alignmentRun": "AlignmentRun", ".model.run": "AlignmentRun",
        ".suites": "RedTeamSuite", ".gate": "EvalGate", ".guard.rules.configMap": "ConfigMap",
    }  # fmt: skip
    if isinstance(value, list):
        return {found for part in value for found in references(part, path)}
    if not isinstance(value, dict):
        return set()
    own = {(kinds[path], value["name"])} if path in kinds else set()
    return own.union(*(references(part, f"{path}.{key}") for key, part in value.items()))


def test_nothing_waits_for_a_later_wave() -> None:
    """A gate before its run, for example, would wait for what is not applied until the gate is healthy."""
    waves = {name(one): wave(one) for one in MANIFESTS}
    named = {name(one): references(one.get("spec")) for one in MANIFESTS}
    assert sum(map(len, named.values())) == 6
    for thing, others in named.items():
        for other in others:
            assert waves[other] <= waves[thing], f"{thing} waits for {other}"
    assert max(waves[thing] for thing in waves if thing[0] == "EvalGate") < waves["GuardedInference", "task-assistant"]


def test_kinds_come_before_the_operator_and_the_operator_before_teams() -> None:
    waves = {one["metadata"]["name"]: wave(one) for one in APPS if one["kind"] == "Application"}
    assert waves == {"plumbline-cluster": -2, "plumbline-operator": -1, "assistant": 0}
    assert {wave(one) for one in APPS if one["kind"] == "AppProject"} == {-3}


def test_no_name_is_left_to_the_api_server() -> None:
    assert not [one for one in (*APPLICATIONS, *APPS, *MANIFESTS) if "generateName" in one["metadata"]]


@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda one: str(one["metadata"]["name"]))
def test_an_application_may_bring_what_its_folder_holds(application: Object) -> None:
    spec = application["spec"]
    assert spec["source"]["path"] == LAID_IN or (EXAMPLE / spec["source"]["path"]).is_dir()
    assert spec["syncPolicy"]["automated"]["selfHeal"]
    if application is ROOT_APPLICATION:
        return
    project = PROJECTS[spec["project"]]
    assert spec["source"]["repoURL"] in project["sourceRepos"]
    allowed = [(one["server"], one["namespace"]) for one in project["destinations"]]
    server, namespace = spec["destination"]["server"], spec["destination"]["namespace"]
    assert (server, namespace) in allowed or (server, "*") in allowed
    assert "ServerSideApply=true" in spec["syncPolicy"]["syncOptions"]


def test_a_team_may_bring_its_own_kinds_and_nothing_else() -> None:
    allowed = {(one["group"], one["kind"]) for one in PROJECTS["assistant"]["namespaceResourceWhitelist"]}
    brought = {(one["apiVersion"].rpartition("/")[0], one["kind"]) for one in MANIFESTS}
    assert all((group, kind) in allowed or (group, "*") in allowed for group, kind in brought)
    (application,) = [one for one in APPLICATIONS if one["metadata"]["name"] == "assistant"]
    assert "SkipDryRunOnMissingResource=true" in application["spec"]["syncPolicy"]["syncOptions"]


def test_the_kinds_are_never_pruned_and_come_once() -> None:
    crds = next(one for one in APPLICATIONS if one["metadata"]["name"] == "plumbline-cluster")
    assert not crds["spec"]["syncPolicy"]["automated"].get("prune")
    values = documents(EXAMPLE / "platform/values.yaml")[0]
    assert values["crds"] == {"install": False}
    assert values["argocd"] == {"enabled": True}
    namespaces = [one["metadata"]["name"] for one in documents(EXAMPLE / "platform/cluster/namespaces.yaml")]
    assert values["watchNamespaces"] == namespaces
