"""Specs that stay as they were written: base class, and the mark of fields that may change all the same.

The API server compares old and new (transition rules in CEL). Local mode compares by itself, because it also watches
the files a run reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from plumbline_api.constraints import LIST_KEYS, Validation, add_validations, cel_name, wire_name
from plumbline_api.model import Document

__all__ = ["Immutable", "Mutable"]

_REMEDY: Final = "make a new object with another name"


@dataclass(frozen=True)
class Mutable:
    """Annotates a field of an Immutable that may change."""


class Immutable(Document):
    """Base of specs whose fields cannot be changed, added or removed once the object is there."""

    def fixed_part(self) -> dict[str, Any]:
        """Plain JSON data without the fields that may change."""
        model = type(self)
        changing = {wire_name(model, name) for name, field in model.model_fields.items() if _is_mutable(field)}
        return {wire: value for wire, value in self.dump().items() if wire not in changing}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """With the rules of transition, each on the field it speaks of."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        here = handler.resolve_ref_schema(found)
        for name, field in cls.model_fields.items():
            if _is_mutable(field):
                continue
            wire = wire_name(cls, name)
            add_validations(here["properties"][wire], _unchanged(here["properties"][wire], wire))
            if _may_be_absent(field):
                rule = f"has(self.{cel_name(wire)}) == has(oldSelf.{cel_name(wire)})"
                add_validations(here, [Validation(rule, f"{wire} cannot be added or removed; {_REMEDY}", wire)])
        return found


def _is_mutable(field: FieldInfo) -> bool:
    return any(isinstance(mark, Mutable) for mark in field.metadata)


def _unchanged(schema: JsonSchemaValue, wire: str) -> Iterator[Validation]:
    yield Validation("self == oldSelf", f"{wire} cannot be changed; {_REMEDY}")
    for key in schema.get(LIST_KEYS, ()):
        # Two list-maps are equal in CEL whatever their order, but stages in another order are another run.
        rule = f"self.map(entry, entry.{key}) == oldSelf.map(entry, entry.{key})"
        yield Validation(rule, f"{wire} cannot be reordered; {_REMEDY}")


def _may_be_absent(field: FieldInfo) -> bool:
    """A rule on an absent field is not asked; a field with a default is never absent."""
    return not field.is_required() and field.get_default(call_default_factory=True, validated_data={}) is None
