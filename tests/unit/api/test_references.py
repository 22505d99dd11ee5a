"""Names that nobody has, names that two have, and labels that a suite does not measure."""

import re
from collections.abc import Collection

import pytest

from plumbline_api.manifests import parse_manifests
from plumbline_api.references import ObjectName, check_references
from tests.unit.api.test_manifest_problems import GATE, RULES, RUN, SERVED, SUITE


def problems(*texts: str, existing: Collection[ObjectName] = frozenset()) -> list[str]:
    found = parse_manifests("---\n".join(texts), "m.yaml")
    assert found.problems == ()
    return [str(problem) for problem in check_references(found.objects, existing)]


def test_a_complete_set_has_no_problem() -> None:
    served = SERVED + "  guard: {rules: {configMap: {name: guard-rules}}}\n"
    assert problems(RUN, GATE, SUITE, RULES, served) == []


def test_a_missing_object_is_told_with_the_nearest_name() -> None:
    found = problems(GATE.replace("name: attacks", "name: attack"), RUN, SUITE)
    assert found == [
        "m.yaml:6: spec.suites[0].name: there is no RedTeamSuite named attack in namespace default; "
        "add its manifest or correct the name; did you mean attacks?"
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (RUN.replace("{file: {path: base}}", "{run: {name: earlier}}"), "spec.model.run.name"),
        (SERVED, "spec.gate.name"),
        (SERVED.replace("{name: gate}", "{name: gate}\n  guard: {rules: {configMap: {name: none}}}"), "spec.gate.name"),
    ],
)
def test_every_kind_of_reference_is_checked(text: str, path: str) -> None:
    assert f" {path}: there is no " in problems(text)[0]


def test_existing_objects_may_be_referred_to_within_the_namespace() -> None:
    def named(namespace: str) -> set[ObjectName]:
        return {ObjectName("AlignmentRun", namespace, "run"), ObjectName("RedTeamSuite", namespace, "attacks")}

    assert problems(GATE, existing=named("default")) == []
    assert len(problems(GATE, existing=named("other"))) == 2


def test_two_objects_of_one_name() -> None:
    assert problems(RUN, RUN) == ["m.yaml:18: metadata.name: another AlignmentRun has this name (m.yaml:1); rename one"]
    assert problems(RUN, RUN.replace("name: run", "name: run\n  namespace: other")) == []


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("category=selfharm", "suite attacks has no category selfharm; it has hate_speech, .*; did you mean self_harm"),
        ("attack=role_play", "suite attacks has no attack role_play; it has direct$"),
        ("split=unseen", "suite attacks has no split unseen; .*; did you mean unseen_actions"),
    ],
)
def test_a_label_that_the_suite_does_not_measure(label: str, message: str) -> None:
    gate = GATE.replace("metric: harmful_compliance_rate", f'metric: "harmful_compliance_rate{{{label}}}"')
    (found,) = check_references(parse_manifests("---\n".join([gate, SUITE, RUN]), "m.yaml").objects)
    assert (found.line, found.path) == (8, "spec.rules[0].metric")
    assert re.search(message, str(found))


def test_a_category_that_the_suite_leaves_out() -> None:
    gate = GATE.replace("metric: harmful_compliance_rate", 'metric: "harmful_compliance_rate{category=violence}"')
    assert problems(gate, SUITE, RUN) == []
    narrow = SUITE.replace("spec:", "spec:\n  categories: [self_harm]")
    assert "has no category violence; it has self_harm" in problems(gate, narrow, RUN)[0]


def test_runs_that_wait_for_each_other() -> None:
    first = RUN.replace("{file: {path: base}}", "{run: {name: second}}")
    second = RUN.replace("{file: {path: base}}", "{run: {name: run}}").replace("name: run\n", "name: second\n")
    found = problems(first, second)
    assert len(found) == 2
    assert all("starts from its own output" in problem for problem in found)


def test_a_config_map_without_rules() -> None:
    served = SERVED + "  guard: {rules: {configMap: {name: guard-rules}}}\n"
    found = problems(RUN, GATE, SUITE, RULES.replace("rules.yaml", "rules.yml"), served)
    assert len(found) == 1
    assert "has no key rules.yaml; put the rules under it" in found[0]
