"""A corpus of manifests with the verdict of the models, for comparing other readers (the API server) with them.

Made from the models: every field of a full manifest is taken away, given another type, and moved to and over each of
its bounds; fields with a form get hostile texts; rules between fields are broken; and random valid manifests, some with
an odd value put in, are drawn. The same on every run. No case depends on the namespace, which is left to the reader.
Two things are left out in which the models are stricter on purpose: whole numbers written 1.0, labels that are null.
"""

import copy
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings
from pydantic import ValidationError

from plumbline_api.alignment import AlignmentRun
from plumbline_api.constraints import VALIDATIONS
from plumbline_api.gate import EvalGate
from plumbline_api.guarded import GuardedInference
from plumbline_api.manifests import Object, as_served
from plumbline_api.model import Document
from plumbline_api.names import API_VERSION, Kind
from plumbline_api.redteam import RedTeamSuite
from tests.support.broken_rules import BROKEN
from tests.support.documents import documents
from tests.support.full_manifests import FULL, GONE, Manifest, changed, minimal

__all__ = ["MODELS", "Case", "corpus"]

MODELS: Final[Mapping[Kind, type[Object]]] = {
    Kind.ALIGNMENT_RUN: AlignmentRun,
    Kind.RED_TEAM_SUITE: RedTeamSuite,
    Kind.EVAL_GATE: EvalGate,
    Kind.GUARDED_INFERENCE: GuardedInference,
}

HOSTILE: Final = (
    "", " ", "a", "A", "a b", "-a", "a-", "a.b", "a_b", "é", "a\n", "\na", "a\u0000", "0", "00", "1", "1.0", "1.1",
    "1.", ".5", "-1", "+1", "0.05", "0.49", "0.5", "0.95", "0.99999", "1e-7", "1E-7", "1e7", "5e-100", "0.0000000001",
    "\u0661", "123456789012", "1h", "h", "0h", "0s", "90s", "1h30m", "1m1h", "1d", "1.5h", "500m", "4Gi", "4GB", "1Ei",
    "0.5Ki", "sha256:" + "0a" * 32, "sha256:" + "0A" * 32, "false_refusal_rate{}", "false_refusal_rate{split=a,}",
    "false_refusal_rate{split=unseen_actions}", "false_refusal_rate{split=a,split=b}", "false_refusal_rate\n",
    "false_refusal_rate ",
)  # fmt: skip
"""Texts at the edges of the forms that texts of the contract have."""

TYPES: Final[Mapping[str, object]] = {
    "a text": "text", "a number": 7, "a fraction": 1.5, "true": True, "a list": [], "a mapping": {}, "null": None,
}  # fmt: skip
FEW: Final = (" ", "a\u0000", "Number 1 of 2", "1E7")
"""Texts that few forms of the contract allow, if any."""
OTHER_ARMS: Final[Mapping[Kind, Mapping[str, Any]]] = {
    Kind.ALIGNMENT_RUN: {"spec.model": {"file": {"path": "base"}}},
    Kind.EVAL_GATE: {
        "spec.subject": {"file": {"path": "model"}},
        "spec.baseline": {"alignmentRun": {"name": "earlier"}},
    },
}
"""What gives the unions of a full manifest the arms that they do not have in it."""
ODD: Final[tuple[Any, ...]] = (True, 0, -1, 10**12, 1.5, "", "x", "0", "1", [], {}, {"a": {}}, ["x"])
METADATA: Final[Mapping[str, Mapping[str, Any]]] = {
    "name of 40 characters": {"metadata.name": "n" * 40},
    "name of 41 characters": {"metadata.name": "n" * 41},
    "name in capitals": {"metadata.name": "Name"},
    "name with a dot": {"metadata.name": "a.b"},
    "name with an underscore": {"metadata.name": "a_b"},
    "name that begins with a digit": {"metadata.name": "0a"},
    "name that ends with a dash": {"metadata.name": "a-"},
    "label with a prefix": {"metadata.labels": {"example.org/app": "A-1_b.c"}},
    "label without a value": {"metadata.labels": {"app": ""}},
    "label with a space": {"metadata.labels": {"app": "my app"}},
    "label key with a space": {"metadata.labels": {"my app": "app"}},
    "label key of 63 characters": {"metadata.labels": {"k" * 63: "v"}},
    "label key of 64 characters": {"metadata.labels": {"k" * 64: "v"}},
    "label prefix in capitals": {"metadata.labels": {"Example.org/app": "v"}},
    "label prefix with two dots": {"metadata.labels": {"example..org/app": "v"}},
    "label value of 63 characters": {"metadata.labels": {"app": "v" * 63}},
    "label value of 64 characters": {"metadata.labels": {"app": "v" * 64}},
    "label that is a number": {"metadata.labels": {"app": 1}},
    "annotation of 10,000 characters": {"metadata.annotations": {"note": "n" * 10_000}},
    "annotation prefix in capitals": {"metadata.annotations": {"Example.org/Note": "n"}},
    "annotation key with a space": {"metadata.annotations": {"my note": "n"}},
    "40 labels": {"metadata.labels": {f"key-{number}": "v" for number in range(40)}},
    "no spec": {"spec": GONE},
    "spec that is empty": {"spec": {}},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A manifest and what the models say of it."""

    name: str
    kind: Kind
    manifest: Manifest
    valid: bool

    def __str__(self) -> str:
        return self.name


@cache
def corpus() -> tuple[Case, ...]:
    """Every case once, in an order that never changes."""
    found: dict[str, Case] = {}
    forms_seen = set[str]()
    for kind in Kind:
        for what, manifest in _manifests(kind, forms_seen):
            text = json.dumps(manifest, sort_keys=True)
            if text not in found:
                found[text] = Case(f"{kind}: {what}", kind, manifest, _is_valid(kind, manifest))
    return tuple(found.values())


def _is_valid(kind: Kind, manifest: Manifest) -> bool:
    try:
        MODELS[kind].parse(as_served(MODELS[kind], manifest))
    except ValidationError:
        return False
    return True


def _manifests(kind: Kind, forms_seen: set[str]) -> Iterator[tuple[str, Manifest]]:
    yield "every field", FULL[kind]
    yield "nothing that may be left out", minimal(kind)
    for broken in BROKEN:
        if broken.kind == kind:
            yield f"{broken.where} breaks: {broken.rule}", broken.manifest
    for what, changes in METADATA.items():
        yield what, changed(FULL[kind], changes)
    schema = MODELS[kind].model_json_schema(by_alias=True)
    walk = _Changes(schema["$defs"], forms_seen)
    spec = _Field("spec", schema["properties"]["spec"], FULL[kind]["spec"])
    for what, path, value in walk.of(spec):
        yield f"{path} {what}", changed(FULL[kind], {path: value})
    for union, arm in OTHER_ARMS.get(kind, {}).items():
        base = changed(FULL[kind], {union: arm})
        for what, path, value in walk.of(_Field(union, walk.inside(spec, union), arm)):
            yield f"{path} as {next(iter(arm))} {what}", changed(base, {path: value})
    yield from _drawn(kind)


@dataclass(frozen=True)
class _Field:
    path: str
    schema: dict[str, Any]
    value: Any


Change = tuple[str, str, Any]
"""What is done, where, and the value that stands there then."""


class _Changes:
    """Walks a schema beside a value that fits it, and changes one thing at a time."""

    def __init__(self, definitions: Mapping[str, Any], forms_seen: set[str]) -> None:
        self._definitions = definitions
        self._forms_seen = forms_seen

    def of(self, field: _Field) -> Iterator[Change]:
        """All changes of a field and of what is inside it; where a form stands again, those at its edges."""
        schema = self._resolve(field.schema)
        form = json.dumps({key: value for key, value in schema.items() if key not in ("title", "default")})
        yield from ((what, field.path, value) for what, value in _beyond(field, schema))
        if form not in self._forms_seen:
            self._forms_seen.add(form)
            yield from ((what, field.path, value) for what, value in _within(field, schema))
        if "properties" in schema:
            yield "has a field that nobody knows", f"{field.path}.unknownField", 1
            for name, value in field.value.items():
                path = f"{field.path}.{name}"
                yield "is left out", path, GONE
                yield from self.of(_Field(path, schema["properties"][name], value))
        if schema["type"] == "array":
            for index, value in enumerate(field.value):
                yield from self.of(_Field(f"{field.path}[{index}]", schema["items"], value))

    def inside(self, spec: _Field, path: str) -> dict[str, Any]:
        """The schema of a field of the spec."""
        found: dict[str, Any] = self._resolve(spec.schema)["properties"][path.removeprefix("spec.")]
        return found

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            return self._resolve(self._definitions[schema["$ref"].removeprefix("#/$defs/")])
        if "anyOf" in schema:
            return self._resolve(next(option for option in schema["anyOf"] if option != {"type": "null"}))
        return schema


def _beyond(field: _Field, schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values just outside what a schema allows."""
    yield ("is a number", 7) if schema["type"] != "integer" else ("is a text", "text")
    match schema["type"]:
        case "integer":
            yield from ((f"is {number}", number) for number in _outside(schema, "minimum", "maximum"))
        case "string":
            yield from _beyond_text(field, schema)
        case "array":
            yield "has an entry twice", [*field.value, field.value[0]]
            for count in _outside(schema, "minItems", "maxItems"):
                yield f"has {count} entries", _many(field.value, count)
        case "object" if "properties" not in schema:
            yield "has too many keys", {f"key-{number}": "v" for number in range(schema["maxProperties"] + 1)}
            yield from ((f"has the key {text!r}", {text: "v"}) for text in FEW)
            yield from ((f"has the value {text!r}", {"key": text}) for text in (*FEW, _drawn_out("value", 64)))


def _beyond_text(field: _Field, schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for length in _outside(schema, "minLength", "maxLength"):
        yield f"has {length} characters", "1" * length
        if length > len(field.value):
            yield f"is drawn out to {length} characters", _drawn_out(field.value, length)
    if {"pattern", "enum", VALIDATIONS} & set(schema):
        yield from ((f"is {text!r}", text) for text in FEW)


def _within(field: _Field, schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values of other types, at the bounds, and of every form that a schema may have in mind."""
    yield from ((f"is {what}", value) for what, value in TYPES.items())
    match schema["type"]:
        case "integer":
            yield from ((f"is {number}", number) for number in (0, 1, *_bounds(schema, "minimum", "maximum")))
        case "array":
            yield "is turned round", field.value[::-1]
            for count in (0, 1, *_bounds(schema, "minItems", "maxItems")):
                yield f"has {count} entries", _many(field.value, count)
        case "string" if "enum" in schema:
            yield from ((f"is {value}", value) for value in (*schema["enum"], field.value.swapcase()))
        case "string":
            for length in (0, *_bounds(schema, "minLength", "maxLength")):
                yield f"has {length} characters", "1" * length
            yield from ((f"is {text!r}", text) for text in HOSTILE if "pattern" in schema or VALIDATIONS in schema)
        case "object" if "properties" not in schema:
            yield from ((f"has the key {text!r}", {text: "v"}) for text in HOSTILE)
            yield from ((f"has the value {text!r}", {"key": text}) for text in HOSTILE)


def _outside(schema: Mapping[str, Any], least: str, most: str) -> tuple[int, ...]:
    """The numbers next to the bounds that a schema has; none below zero where a length or a count is meant."""
    below = schema.get(least, 0) - 1
    beyond = (below,) if least in schema and (below >= 0 or least == "minimum") else ()
    return (*beyond, schema[most] + 1) if most in schema else beyond


def _drawn_out(text: str, length: int) -> str:
    """A text of that length that begins as the given one does and ends as it ends."""
    return text + text[-1] * (length - len(text))


def _bounds(schema: Mapping[str, Any], *names: str) -> tuple[int, ...]:
    return tuple(schema[name] for name in names if name in schema)


def _many(entries: list[Any], count: int) -> list[Any]:
    """So many entries; what tells them apart is made new, where they have that."""
    many = [copy.deepcopy(entries[index % len(entries)]) for index in range(count)]
    return [entry | {"name": f"n{index}"} if "name" in entry else entry for index, entry in enumerate(many)]


def _drawn(kind: Kind) -> Iterator[tuple[str, Manifest]]:
    """Random valid manifests, and the same with an odd value somewhere."""
    drawn: list[Document] = []

    @settings(
        max_examples=15, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(documents(MODELS[kind]))
    def draw(document: Document) -> None:
        drawn.append(document)

    draw()
    odd = random.Random(7)
    for number, document in enumerate(drawn):
        manifest = {"apiVersion": API_VERSION, "kind": kind.value, **document.dump()}
        manifest["metadata"] = {"name": manifest["metadata"]["name"]}
        yield f"drawn {number}", manifest
        yield f"drawn {number} with an odd value", _with_odd_value(manifest, odd)


def _with_odd_value(manifest: Manifest, source: random.Random) -> Manifest:
    broken = copy.deepcopy(manifest)
    here: Any = broken["spec"]
    while True:
        key = source.choice(list(here) if isinstance(here, dict) else range(len(here)))
        if not isinstance(here[key], dict | list) or not here[key] or not source.randrange(5):
            here[key] = source.choice(ODD)
            return broken
        here = here[key]
