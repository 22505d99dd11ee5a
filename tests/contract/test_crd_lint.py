"""The linter of CRDs sees what it is there to see: one planted fault at a time."""

import copy
from collections.abc import Callable

import pytest

from plumbline_api.crd import crd_of
from plumbline_api.names import Kind
from tests.support.crd_lint import Schema, complaints_about, nodes, root_of, rules_on


def at(crd: Schema, path: str) -> Schema:
    """The schema at a path such as `spec.stages[].name`."""
    return dict(nodes(root_of(crd)))[path]


def rule_at(crd: Schema, path: str) -> Schema:
    return rules_on(at(crd, path))[0]


def version(crd: Schema) -> Schema:
    found: Schema = crd["spec"]["versions"][0]
    return found


def column(crd: Schema) -> Schema:
    found: Schema = version(crd)["additionalPrinterColumns"][0]
    return found


def select(crd: Schema, *paths: str) -> None:
    version(crd)["selectableFields"] = [{"jsonPath": path} for path in paths]


TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}

# A change of the EvalGate's CRD, and the code that the linter must say of it.
PLANTED: dict[str, tuple[str, Callable[[Schema], object]]] = {
    "too big": ("CRD01", lambda crd: at(crd, "spec").update(description="x" * 60_000)),
    "misnamed": ("CRD02", lambda crd: crd["metadata"].update(name="gates.plumbline.dev")),
    "not stored": ("CRD03", lambda crd: version(crd).update(storage=False)),
    "status without a subresource": ("CRD04", lambda crd: version(crd).pop("subresources")),
    "no short name": ("CRD05", lambda crd: crd["spec"]["names"].pop("shortNames")),
    "spec is optional": ("ROOT01", lambda crd: at(crd, "").update(required=[])),
    "labels are restricted": ("ROOT02", lambda crd: at(crd, "metadata")["properties"].update(labels=TEXTS)),
    "kind without words": ("ROOT03", lambda crd: at(crd, "").pop("description")),
    "column of nothing": ("COL01", lambda crd: column(crd).update(jsonPath=".status.stage")),
    "column of another type": ("COL02", lambda crd: column(crd).update(type="integer")),
    "column by position": ("COL03", lambda crd: column(crd).update(jsonPath=".status.conditions[0].status")),
    "column without words": ("COL04", lambda crd: column(crd).pop("description")),
    "selected by too much": ("COL05", lambda crd: select(crd, *[".status.phase"] * 9)),
    "selected by an object": ("COL06", lambda crd: select(crd, ".spec.subject")),
    "reference": ("STR01", lambda crd: at(crd, "spec.subject").update({"$ref": "#/x"})),
    "alternatives": ("STR01", lambda crd: at(crd, "spec.subject").update(oneOf=[])),
    "title": ("STR01", lambda crd: at(crd, "spec.subject").update(title="Subject")),
    "null allowed": ("STR01", lambda crd: at(crd, "spec.subject").update(nullable=True)),
    "no type": ("STR02", lambda crd: at(crd, "spec.subject").pop("type")),
    "fraction": ("STR02", lambda crd: at(crd, "spec.rules[].minSamples").update(type="number")),
    "field without words": ("STR03", lambda crd: at(crd, "spec.subject").pop("description")),
    "default null": ("STR04", lambda crd: at(crd, "spec.compute").update(default=None)),
    "default in an atomic list": ("LST08", lambda crd: at(crd, "spec.rules[].minSamples").update(default=30)),
    "default of another type": ("STR04", lambda crd: at(crd, "spec.rules[].minSamples").update(default="30")),
    "map with fields": ("OBJ01", lambda crd: at(crd, "spec.subject").update(TEXTS)),
    "closed object": ("OBJ02", lambda crd: at(crd, "spec.subject").update(additionalProperties=False)),
    "map without a bound": ("OBJ03", lambda crd: at(crd, "spec.subject").update(TEXTS)),
    "requires what is not there": ("OBJ04", lambda crd: at(crd, "spec").update(required=["subjects"])),
    "default that would be pruned": ("OBJ05", lambda crd: at(crd, "spec.compute").update(default={"tpu": 1})),
    "list without a bound": ("LST01", lambda crd: at(crd, "spec.suites").pop("maxItems")),
    "list of anything": ("LST02", lambda crd: at(crd, "status.advice").update(items=[{"type": "string"}])),
    "list of no type": ("LST03", lambda crd: at(crd, "spec.rules").pop("x-kubernetes-list-type")),
    "set of objects": ("LST04", lambda crd: at(crd, "spec.rules").update({"x-kubernetes-list-type": "set"})),
    "objects without a key": ("LST05", lambda crd: at(crd, "spec.suites").update({"x-kubernetes-list-type": "atomic"})),
    "map without keys": ("LST06", lambda crd: at(crd, "spec.suites").pop("x-kubernetes-list-map-keys")),
    "optional key": ("LST07", lambda crd: at(crd, "spec.suites[]").update(required=[])),
    "text without a bound": ("TXT01", lambda crd: at(crd, "spec.rules[].atMost").pop("maxLength")),
    "value twice": ("TXT02", lambda crd: at(crd, "status.verdict").update(enum=["Passed", "Passed"])),
    "pattern without an end": ("TXT03", lambda crd: at(crd, "spec.rules[].atMost").update(pattern="^0")),
    "pattern of one language": ("TXT04", lambda crd: at(crd, "spec.rules[].atMost").update(pattern=r"^\d$")),
    "number of any size": ("NUM01", lambda crd: at(crd, "spec.rules[].minSamples").pop("format")),
    "rule with code for its message": ("CEL01", lambda crd: rule_at(crd, "spec").update(messageExpression="'x'")),
    "rule without a message": ("CEL02", lambda crd: rule_at(crd, "spec").pop("message")),
    "rule about nothing": ("CEL03", lambda crd: rule_at(crd, "spec").update(rule="1 == 1")),
    "rule that blames nobody": ("CEL04", lambda crd: rule_at(crd, "spec").update(fieldPath=".suite")),
    "rule in another CEL": ("CEL05", lambda crd: rule_at(crd, "spec").update(rule="quantity(self.rules) > 1")),
    "rule about a missing field": ("CEL06", lambda crd: rule_at(crd, "spec").update(rule="has(self.suite)")),
}  # fmt: skip


@pytest.mark.parametrize(("code", "plant"), PLANTED.values(), ids=PLANTED)
def test_the_linter_sees(code: str, plant: Callable[[Schema], object]) -> None:
    crd = copy.deepcopy(crd_of(Kind.EVAL_GATE))
    plant(crd)
    assert code in {complaint.split()[0] for complaint in complaints_about(crd)}
