"""The linter of CustomResourceDefinitions: what the API server demands of them, and what we demand beyond that.

Each rule has a code that a complaint begins with. The rules on structure are those of the Kubernetes documentation
("Specifying a structural schema" and what follows there); the server would tell them one at a time, and only there.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["UNKEYED", "Schema", "complaints_about", "nodes", "root_of", "rules_of", "rules_on"]

Schema = dict[str, Any]

MOST_BYTES: Final = 60_000
MOST_SELECTABLE: Final = 8
KNOWN: Final = {
    "type", "description", "default", "enum", "pattern", "format", "minimum", "maximum", "minLength", "maxLength",
    "properties", "required", "items", "minItems", "maxItems", "additionalProperties", "maxProperties",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip
PYTHON: Final[dict[str, Any]] = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list}
SCALARS: Final = {"string", "integer", "boolean"}
FUNCTIONS: Final = {
    "has", "size", "matches", "exists", "exists_one", "all", "filter", "map", "double", "int", "string",
    "startsWith", "endsWith", "contains",
    "charAt", "indexOf", "join", "lastIndexOf", "lowerAscii", "replace", "split", "substring", "trim", "upperAscii",
}  # fmt: skip
"""Core CEL and its string extension; what only Kubernetes has cannot be tried out elsewhere."""

UNKEYED: Final = {
    "spec.attacks": "an attack has no name; a rule holds each kind once",
    "spec.corpora": "a corpus has no name",
    "spec.judges": "a judge has no name",
    "spec.rules": "two rules may speak of one metric",
    "spec.compute.tolerations": "as in a pod, where no field of one is required",
    "status.rows": "one row per rule and suite",
    "status.evidence": "one entry per suite and role",
    "status.evidence[].judge": "the operator copies it as a whole",
    "status.executions": "newest first, written as a whole",
    "status.executions[].rows": "metric and labels together tell them apart",
    "status.progress.metrics": "copied from a Job's report as a whole",
    "status.stages[].progress.metrics": "copied from a Job's report as a whole",
}
"""Lists of objects without a key, each with the reason."""


def complaints_about(crd: Schema) -> list[str]:
    """Everything that is wrong with a CRD."""
    found = [*_envelope(crd)]
    for version in crd["spec"]["versions"]:
        root = version["schema"]["openAPIV3Schema"]
        found += [*_root(root), *_columns(version, root)]
        for name in ("spec", "status"):
            for path, schema in nodes(root["properties"][name], name):
                found += [f"{complaint} ({path})" for complaint in _node(path, schema)]
    return found


def root_of(crd: Schema) -> Schema:
    """The schema of the one version that a CRD has."""
    schema: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """A schema and all in it, with paths such as `spec.stages[].name`."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}".removeprefix("."))
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}{mark}")


def rules_on(schema: Schema) -> list[Schema]:
    """The rules in CEL that a schema holds itself."""
    rules: list[Schema] = schema.get("x-kubernetes-validations", [])
    return rules


def rules_of(crd: Schema) -> Iterator[tuple[str, Schema]]:
    """Every rule of a CRD with the path of the schema that holds it."""
    for path, schema in nodes(root_of(crd)):
        yield from ((path, rule) for rule in rules_on(schema))


def _envelope(crd: Schema) -> Iterator[str]:
    spec = crd["spec"]
    size = len(json.dumps(crd, separators=(",", ":")).encode())
    if size >= MOST_BYTES:
        yield f"CRD01 has {size} bytes, {MOST_BYTES} are the limit"
    if crd["metadata"]["name"] != f"{spec['names']['plural']}.{spec['group']}":
        yield "CRD02 is not named <plural>.<group>"
    if [version["storage"] for version in spec["versions"]].count(True) != 1:
        yield "CRD03 needs exactly one storage version"
    if not all("status" in version.get("subresources", {}) for version in spec["versions"]):
        yield "CRD04 has no status subresource"
    if not spec["names"].get("shortNames") or not spec["names"].get("categories"):
        yield "CRD05 has no short name or no category"


def _root(root: Schema) -> Iterator[str]:
    properties = root["properties"]
    if set(properties) != {"apiVersion", "kind", "metadata", "spec", "status"} or root.get("required") != ["spec"]:
        yield "ROOT01 a resource has apiVersion, kind, metadata, spec and status, and spec is required"
    metadata = properties["metadata"]
    if set(metadata) - {"type", "properties"} or set(metadata.get("properties", {})) - {"name", "generateName"}:
        yield "ROOT02 of metadata only name and generateName can be restricted"
    if not root.get("description"):
        yield "ROOT03 the kind is not described"


def _columns(version: Schema, root: Schema) -> Iterator[str]:
    for column in version.get("additionalPrinterColumns", ()):
        path = column["jsonPath"]
        if path == ".metadata.creationTimestamp":
            continue
        found = _at(root, path)
        if found is None:
            yield f"COL01 column {column['name']} shows {path}, which no object has"
        elif found.get("type") != column["type"]:
            yield f"COL02 column {column['name']} is no {column['type']}"
        if ".conditions" in path and "conditions[?(@.type==" not in path:
            yield f"COL03 column {column['name']} does not pick its condition by type"
        if not column.get("description"):
            yield f"COL04 column {column['name']} is not described"
    selectable = version.get("selectableFields", ())
    if len(selectable) > MOST_SELECTABLE:
        yield f"COL05 {len(selectable)} selectable fields, {MOST_SELECTABLE} are the limit"
    for entry in selectable:
        if "[" in entry["jsonPath"] or (_at(root, entry["jsonPath"]) or {}).get("type") not in SCALARS:
            yield f"COL06 {entry['jsonPath']} cannot be selected by"


def _at(root: Schema, path: str) -> Schema | None:
    """The schema of what a JSON path shows."""
    found: Schema | None = root
    for name, index in re.findall(r"\.(\w+)(\[[^\]]*\])?", path.replace("@.", "")):
        found = (found or {}).get("properties", {}).get(name)
        if index and found is not None:
            found = found.get("items")
    return found


def _node(path: str, schema: Schema) -> Iterator[str]:
    if unknown := set(schema) - KNOWN:
        yield f"STR01 a CRD of ours does not say {', '.join(sorted(unknown))}"
    kind = schema.get("type")
    if kind not in PYTHON:
        yield f"STR02 has no type, or one that is not ours: {kind}"
        return
    if not path.endswith("[]") and not path.endswith(".*") and not schema.get("description"):
        yield "STR03 is not described"
    if "default" in schema and (schema["default"] is None or type(schema["default"]) is not PYTHON[kind]):
        yield f"STR04 has a default that is no {kind}"
    yield from {"object": _object, "array": _list, "string": _text, "integer": _number}.get(kind, _boolean)(
        path, schema
    )
    for rule in rules_on(schema):
        yield from _rule(schema, rule)


def _boolean(path: str, schema: Schema) -> Iterator[str]:
    yield from ()


def _object(path: str, schema: Schema) -> Iterator[str]:
    properties, values = schema.get("properties"), schema.get("additionalProperties")
    if properties is not None and values is not None:
        yield "OBJ01 has both named fields and a map of others"
    if values is not None and not isinstance(values, dict):
        yield "OBJ02 allows any value"
    if values is not None and "maxProperties" not in schema:
        yield "OBJ03 a map needs a bound"
    if set(schema.get("required", ())) - set(properties or {}):
        yield "OBJ04 requires a field that it does not have"
    for name in schema.get("default") or ():
        if name not in (properties or {}):
            yield f"OBJ05 has {name} in its default, which would be pruned"


def _list(path: str, schema: Schema) -> Iterator[str]:
    if "maxItems" not in schema:
        yield "LST01 a list needs a bound"
    items, kind = schema.get("items"), schema.get("x-kubernetes-list-type")
    if not isinstance(items, dict):
        yield "LST02 has no one schema of its entries"
        return
    if kind not in ("atomic", "set", "map"):
        yield "LST03 does not say how it is merged"
    if kind == "set" and items.get("type") not in SCALARS:
        yield "LST04 a set holds plain values"
    if items.get("type") == "object" and kind != "map" and path not in UNKEYED:
        yield "LST05 a list of objects needs a key, or a reason in UNKEYED"
    if kind == "atomic" and any("default" in inner for _, inner in nodes(items)):
        yield "LST08 whoever applies an atomic list owns all of it, so a default inside differs from git for ever"
    keys = schema.get("x-kubernetes-list-map-keys", [])
    if (kind == "map") != bool(keys):
        yield "LST06 keys belong to a list-map, and it to them"
    for key in keys:
        field = items.get("properties", {}).get(key, {})
        if field.get("type") not in SCALARS or (key not in items.get("required", ()) and "default" not in field):
            yield f"LST07 its key {key} is not a plain value that is always there"


def _text(path: str, schema: Schema) -> Iterator[str]:
    if "maxLength" not in schema and "enum" not in schema and schema.get("format") != "date-time":
        yield "TXT01 a text needs a bound"
    values = schema.get("enum")
    if values is not None and (len(set(values)) != len(values) or not values):
        yield "TXT02 an enum has each value once, and one at least"
    pattern = schema.get("pattern")
    if pattern is not None and not (pattern.startswith("^") and pattern.endswith("$")):
        yield "TXT03 a pattern that is not anchored matches anywhere in a text"
    if pattern is not None and re.search(r"\(\?[=!<]|\\[1-9]|\\[dDsSwW]", pattern):
        yield "TXT04 a pattern uses what differs between Go, Rust and Python"


def _number(path: str, schema: Schema) -> Iterator[str]:
    if schema.get("format") not in ("int32", "int64"):
        yield "NUM01 a number needs int32 or int64"


def _rule(schema: Schema, rule: Schema) -> Iterator[str]:
    text = rule.get("rule", "")
    if set(rule) - {"rule", "message", "fieldPath"}:
        yield "CEL01 says more than rule, message and fieldPath"
    if not rule.get("message") or "\n" in rule["message"] or len(rule["message"]) > 2048:
        yield "CEL02 has no message, or one that cannot be shown"
    if not re.search(r"\bself\b", text) or "\n" in text:
        yield "CEL03 does not speak of self"
    properties = schema.get("properties", {})
    field = rule.get("fieldPath", "")
    if field and (field.removeprefix(".") not in properties or field.removeprefix(".") not in rule["message"]):
        yield f"CEL04 blames {field}, which is not there or which the message does not name"
    bare = re.sub(r"r?'[^']*'", "''", text)
    if unknown := set(re.findall(r"(\w+)\(", bare)) - FUNCTIONS:
        yield f"CEL05 calls {', '.join(sorted(unknown))}"
    if schema["type"] == "object":
        named = {name.strip("_") for name in re.findall(r"\b(?:self|oldSelf)\.(\w+)\b(?!\()", bare)}
        if missing := named - set(properties):
            yield f"CEL06 speaks of {', '.join(sorted(missing))}, which is not there"
