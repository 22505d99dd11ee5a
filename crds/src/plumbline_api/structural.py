"""Models as structural schemas: what `apiextensions.k8s.io/v1` lets a CustomResourceDefinition say, and nothing else.

References are written out, "or null" becomes optional, defaults of blocks become `{}`, every list gets its type. What
a CRD cannot say, or a text, list or map without a bound, is an error here and not a surprise at the API server.
Called by crd.py; pure.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from plumbline_api.constraints import LIST_KEYS, LIST_TYPE, VALIDATIONS, Validation, add_validations, wire_name
from plumbline_api.model import Document
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_api.schemas import Described

__all__ = ["NotStructural", "structural_schema"]

Schema = dict[str, Any]

_VOCABULARY: Final = {
    ConditionType: {"pattern": "^[A-Z][A-Za-z0-9]*$", "maxLength": 63},
    Phase: {"pattern": "^[A-Z][A-Za-z0-9]*$", "maxLength": 63},
    Reason: {"pattern": "^[A-Z][A-Za-z0-9]*$", "maxLength": 255},
}
"""Words that only the operator writes: a newer one must be able to tell its reasons while the CRD is still older."""

_KNOWN: Final = {
    "type", "description", "default", "enum", "pattern", "format", "minimum", "maximum", "minLength", "maxLength",
    "properties", "required", "items", "minItems", "maxItems", "additionalProperties", "maxProperties",
    VALIDATIONS, LIST_TYPE, LIST_KEYS,
}  # fmt: skip
_KEY_TERMS: Final = {
    "maxLength": "key.size() <= {}",
    "minLength": "key.size() >= {}",
    "pattern": "key.matches(r'{}')",
}
_ORDER: Final = ("description", "type", "enum", "default")
"""What a reader wants first."""


class NotStructural(ValueError):
    """A model says something that a CRD cannot say, or leaves out a bound."""

    def __init__(self, path: str, fact: str) -> None:
        super().__init__(f"{path}: {fact}")


class _Source(Described):
    """The schema to begin from: with the defaults of blocks, and with the operator's vocabulary left open."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        model = schema["cls"]
        for name, field in model.model_fields.items():
            if not field.is_required():
                default = _plain(field.get_default(call_default_factory=True, validated_data={}))
                found["properties"][wire_name(model, name)]["default"] = default
        return found

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        shape = _VOCABULARY.get(schema["cls"])
        return {"type": "string", **shape} if shape else super().enum_schema(schema)


def structural_schema(model: type[Document], path: str) -> Schema:
    """The schema of a document.

    Args:
        model: The document.
        path: Where it stands in the resource, for errors.

    Raises:
        NotStructural: where the model says something that a CRD cannot.
    """
    raw = model.model_json_schema(by_alias=True, schema_generator=_Source)
    return _Writer(raw.pop("$defs", {})).write(raw, path, ())


class _Writer:
    """Writes one schema out; holds its definitions."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def write(self, raw: Schema, path: str, inside: tuple[str, ...]) -> Schema:
        """The structural form of a schema that stands `inside` these definitions."""
        node, inside = self._resolve(raw, path, inside)
        if unknown := set(node) - _KNOWN:
            raise NotStructural(path, f"a CRD cannot say {', '.join(sorted(unknown))}")
        match node.get("type"):
            case "object":
                self._write_object(node, path, inside)
            case "array":
                node.setdefault(LIST_TYPE, "atomic")
                _require(node, path, "maxItems")
                items = self.write(node["items"], f"{path}[]", inside)
                # Whoever applies such a list owns all of it: a default inside would be a difference to git for ever.
                node["items"] = _without_defaults(items) if node[LIST_TYPE] == "atomic" else items
            case "string":
                if "enum" not in node and node.get("format") != "date-time":
                    _require(node, path, "maxLength")
            case "integer":
                node["format"] = "int64"
            case "boolean":
                pass
            case other:
                raise NotStructural(path, f"a CRD of ours has no type {other}")
        if "default" in node:
            node["default"] = _shortest(node["default"], node)
        return {key: node[key] for key in (*_ORDER, *node) if key in node}

    def _write_object(self, node: Schema, path: str, inside: tuple[str, ...]) -> None:
        values = node.pop("additionalProperties", False)
        if values:
            _require(node, path, "maxProperties")
            node["additionalProperties"] = self.write(values, f"{path}.*", inside)
        elif fields := node.pop("properties", {}):
            node["properties"] = {name: self.write(schema, f"{path}.{name}", inside) for name, schema in fields.items()}

    def _resolve(self, raw: Schema, path: str, inside: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """A schema without references, unions with null, titles and constants."""
        node = {key: value for key, value in raw.items() if key != "title"}
        while target := _reference(node):
            if isinstance(target, str):
                name = target.removeprefix("#/$defs/")
                if name in inside:
                    raise NotStructural(path, f"{name} holds itself")
                inside = (*inside, name)
                node = _merge(self._definitions[name], node, "$ref")
            else:
                node = _merge(target, node, "anyOf")
        if "const" in node:
            node["enum"] = [node.pop("const")]
        if node.get("default", ...) is None:
            del node["default"]
        _open_keys(node)
        return node, inside


def _reference(node: Schema) -> str | Schema | None:
    """What a node stands for: the name of a definition, the one alternative to null, or nothing but itself."""
    if "$ref" in node:
        return str(node["$ref"])
    alternatives = [schema for schema in node.get("anyOf", ()) if schema != {"type": "null"}]
    return alternatives[0] if len(alternatives) == 1 else None


def _merge(target: Schema, node: Schema, by: str) -> Schema:
    """What a node stands for, with what the node itself adds; a field's words go before those of its type."""
    merged = {key: value for key, value in target.items() if key != "title"}
    for key, value in node.items():
        if key == by:
            continue
        if key == VALIDATIONS:
            merged[key] = [*merged.get(key, ()), *value]
        elif key == "description" and "enum" in target:
            merged[key] = "\n".join([value, *_values(target)])
        else:
            merged[key] = value
    return merged


def _open_keys(node: Schema) -> None:
    """What a map asks of its keys, as a rule: a CRD has a schema for the values only."""
    names = node.pop("propertyNames", {})
    for pattern, values in node.pop("patternProperties", {}).items():
        node["additionalProperties"] = values
        names = names | {"pattern": pattern}
    if terms := [_KEY_TERMS[key].format(bound) for key, bound in sorted(names.items())]:
        words = " and ".join(f"{key} {bound}" for key, bound in sorted(names.items()))
        add_validations(node, [Validation(f"self.all(key, {' && '.join(terms)})", f"every key must have {words}")])


def _values(enum: Schema) -> list[str]:
    """The lines of an enum's description that explain its values."""
    return [line for line in enum.get("description", "").splitlines() if line.startswith("- ")]


def _require(node: Schema, path: str, bound: str) -> None:
    if bound not in node:
        raise NotStructural(path, f"has no {bound}; every text, list and map needs a bound")


def _plain(value: Any) -> Any:
    """A default as JSON data."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value.value if isinstance(value, Enum) else value


def _without_defaults(schema: Schema) -> Schema:
    """A schema that fills nothing in."""
    made = {key: value for key, value in schema.items() if key != "default"}
    for key in ("items", "additionalProperties"):
        if key in made:
            made[key] = _without_defaults(made[key])
    if "properties" in made:
        made["properties"] = {name: _without_defaults(inner) for name, inner in made["properties"].items()}
    return made


def _shortest(default: Any, schema: Schema) -> Any:
    """A default without what the defaults inside it already say."""
    if not isinstance(default, dict):
        return default
    properties = schema.get("properties", {})
    return {key: value for key, value in default.items() if key not in properties or value != _grown(properties[key])}


def _grown(schema: Schema) -> Any:
    """The value that a field has when it is left out: its default, with the defaults inside that."""
    default = schema.get("default", ...)
    if not isinstance(default, dict):
        return default
    inner = {name: _grown(inside) for name, inside in schema.get("properties", {}).items()}
    return {name: value for name, value in inner.items() if value is not ...} | default
