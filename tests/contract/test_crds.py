"""The CRDs are those of the models, and say all that the models say, in the words a CRD has.

What a real API server makes of them is tested in tests/cluster.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from plumbline_api.crd import RESOURCES, crd_of, crd_text, filename_of
from plumbline_api.manifests import parse_manifests
from plumbline_api.model import canonical_json
from plumbline_api.names import Kind
from tests.support.broken_rules import BROKEN, TRANSITIONS, Broken
from tests.support.checkout import ROOT
from tests.support.crd_lint import UNKEYED, Schema, complaints_about, nodes, root_of, rules_of, rules_on
from tests.support.full_manifests import FULL, changed, minimal
from tests.support.manifests_corpus import MODELS, corpus


def schema_of(kind: Kind) -> Schema:
    return root_of(crd_of(kind))


@pytest.mark.parametrize("kind", Kind)
def test_a_crd_is_committed_as_it_would_be_written(kind: Kind) -> None:
    committed = (ROOT / "crds" / filename_of(kind)).read_text(encoding="utf-8")
    assert committed == crd_text(kind), "run make generate and commit what it wrote"
    assert committed.startswith("# Written by `make generate`")


def test_no_crd_is_left_of_a_kind_that_is_gone() -> None:
    assert {path.name for path in (ROOT / "crds").glob("*.yaml")} == {filename_of(kind) for kind in RESOURCES}
    assert set(RESOURCES) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_a_crd_keeps_every_rule_of_the_linter(kind: Kind) -> None:
    assert complaints_about(crd_of(kind)) == []


def test_every_excuse_for_a_list_without_a_key_is_needed() -> None:
    lists = {path for kind in Kind for path, schema in nodes(schema_of(kind)) if schema.get("type") == "array"}
    assert set(UNKEYED) <= lists


@pytest.mark.parametrize("kind", Kind)
def test_defaults_of_a_crd_are_those_of_the_model(kind: Kind) -> None:
    manifest = minimal(kind)
    meant = MODELS[kind].parse(manifest).dump()["spec"]
    filled = grown(manifest["spec"], schema_of(kind)["properties"]["spec"])
    assert MODELS[kind].parse(manifest | {"spec": filled}).dump()["spec"] == meant
    # The entries of atomic lists are left as they were written.
    assert filled == {name: manifest["spec"][name] if name == "rules" else value for name, value in meant.items()}
    meant_status = RESOURCES[kind].status().dump()
    assert grown({}, schema_of(kind)["properties"]["status"]) == meant_status


def grown(value: Any, schema: Schema) -> Any:
    """A value with the defaults of a schema, put in as the API server does: from the outside inwards."""
    if isinstance(value, list):
        return [grown(entry, schema["items"]) for entry in value]
    if not isinstance(value, dict):
        return value
    fields = schema.get("properties", {})
    value = {name: inner["default"] for name, inner in fields.items() if "default" in inner} | value
    return {name: grown(inner, fields.get(name, {})) for name, inner in value.items()}


def test_every_rule_has_an_object_that_breaks_it() -> None:
    rules = {(kind, where, rule["message"]) for kind in Kind for where, rule in rules_of(crd_of(kind))}
    known = {(broken.kind, broken.where, broken.rule) for broken in BROKEN}
    changes = {(Kind.ALIGNMENT_RUN, message) for message in TRANSITIONS}
    assert known == {rule for rule in rules if (rule[0], rule[2]) not in changes}
    assert changes == {(kind, message) for kind, _, message in rules if "cannot be" in message}


_METRIC = next(broken.rule for broken in BROKEN if broken.where.endswith(".metric"))
_LABEL_KEY = next(broken.rule for broken in BROKEN if broken.where.endswith(".nodeSelector"))
_OPTION = next(broken.rule for broken in BROKEN if "and nothing else" in broken.rule)


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_the_models_refuse_what_breaks_a_rule_in_the_same_words(broken: Broken) -> None:
    (problem,) = parse_manifests(canonical_json(broken.manifest).decode(), "m.yaml").problems
    field = problem.path.rpartition(".")[2]
    words = broken.rule.removeprefix(f"{field} ")
    # Where the models can name the mistake more closely than CEL, they do.
    closer = {
        _METRIC: "is not a label of metrics",
        _LABEL_KEY: "is not a key of a label",
        _OPTION: "'trust-remote-code' is not an option of vLLM that is passed on",
    }
    assert closer.get(words, words) in problem.message


@pytest.mark.parametrize("kind", Kind)
def test_a_full_manifest_gives_every_field_and_breaks_no_rule(kind: Kind) -> None:
    assert parse_manifests(canonical_json(FULL[kind]).decode(), "m.yaml").problems == ()
    there = {path for path, _ in nodes(schema_of(kind)) if path.startswith("spec")}
    given = set(paths_of(FULL[kind]["spec"], schema_of(kind)["properties"]["spec"], "spec"))
    assert there - given - OTHER_ARMS == set()


OTHER_ARMS = {
    "spec.model.file", "spec.model.file.path", "spec.subject.file", "spec.subject.file.path",
    "spec.baseline.alignmentRun", "spec.baseline.alignmentRun.name", "spec.stages[].sft.maxSteps",
    "spec.stages[].dpo.epochs",
}  # fmt: skip
"""Fields that cannot stand beside those that are given."""


def paths_of(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """The path of everything in a value, as the schema has it."""
    yield path
    for entry in value if isinstance(value, list) else ():
        yield from paths_of(entry, schema["items"], f"{path}[]")
    for name, inner in value.items() if isinstance(value, dict) else ():
        named = name in schema.get("properties", {})
        field = schema["properties"][name] if named else schema["additionalProperties"]
        yield from paths_of(inner, field, f"{path}.{name}" if named else f"{path}.*")


def test_only_what_must_stay_as_it_was_is_immutable() -> None:
    spec = schema_of(Kind.ALIGNMENT_RUN)["properties"]["spec"]["properties"]
    frozen = {name for name, schema in spec.items() if any("oldSelf" in rule["rule"] for rule in rules_on(schema))}
    assert set(spec) - frozen <= {"suspend", "ttlSecondsAfterFinished", "queue"}
    for kind in set(Kind) - {Kind.ALIGNMENT_RUN}:
        assert not [rule for _, rule in rules_of(crd_of(kind)) if "oldSelf" in rule["rule"]]


def test_no_list_inside_an_immutable_field_is_compared_without_its_order() -> None:
    for path, schema in nodes(schema_of(Kind.ALIGNMENT_RUN)):
        if path.startswith("spec.") and schema.get("x-kubernetes-list-type", "atomic") != "atomic":
            assert "cannot be reordered" in " ".join(rule["message"] for rule in rules_on(schema)), path


@pytest.mark.timeout(120)
def test_the_corpus_is_the_same_each_time_and_has_both_verdicts_for_every_kind() -> None:
    cases = corpus()
    assert len(cases) >= 200
    assert corpus.__wrapped__() == cases
    assert len({case.name for case in cases}) == len(cases)
    for kind in Kind:
        verdicts = [case.valid for case in cases if case.kind == kind]
        assert min(verdicts.count(True), verdicts.count(False)) >= 25, kind


def test_a_change_is_made_in_a_copy() -> None:
    before = canonical_json(FULL[Kind.EVAL_GATE])
    assert changed(FULL[Kind.EVAL_GATE], {"spec.rules[0].atMost": "0"})["spec"]["rules"][0]["atMost"] == "0"
    assert canonical_json(FULL[Kind.EVAL_GATE]) == before
