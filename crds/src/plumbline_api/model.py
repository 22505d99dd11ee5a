"""The one base class of every document that two programs exchange, and its canonical form.

Everybody uses it; it knows nobody. Documents are frozen, refuse unknown fields, are written in camelCase and are
parsed with JSON's types only ("1" is a string, 1 a number, and neither becomes the other).
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, GetJsonSchemaHandler, PlainSerializer
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from plumbline_api.constraints import add_validations, validations_of

__all__ = ["Document", "Timestamp", "canonical_json", "digest_of", "format_time"]


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _require_zone(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone, for example 2026-01-31T12:00:00Z")
    return moment.astimezone(UTC)


Timestamp = Annotated[
    datetime,
    AfterValidator(_require_zone),
    PlainSerializer(format_time, return_type=str, when_used="json"),
]
"""A moment with a zone; written as RFC 3339 in UTC with whole seconds."""


class Document(BaseModel):
    """Base of every model of the contract: strict, frozen, camelCase on the wire."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_enum_values=False,
        ser_json_inf_nan="constants",
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """With the rules between fields, which plain JSON schema cannot say."""
        found = handler(schema)
        add_validations(handler.resolve_ref_schema(found), validations_of(cls))
        return found

    @classmethod
    def parse(cls, data: object) -> Self:
        """Build the document from plain JSON data.

        Raises:
            pydantic.ValidationError: with one entry per problem.
        """
        return cls.read(json.dumps(data, default=str))

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """Build the document from JSON text; raises pydantic.ValidationError."""
        return cls.model_validate_json(text, by_alias=True, by_name=False)

    def dump(self) -> dict[str, Any]:
        """Plain JSON data in camelCase, without absent (None) fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def pretty(self) -> str:
        """Indented JSON text, ending in a newline, for files that people may read."""
        return self.model_dump_json(indent=2, by_alias=True, exclude_none=True) + "\n"


def canonical_json(data: Document | Mapping[str, Any] | list[Any]) -> bytes:
    """The one byte form that digests are taken of: sorted keys, no spaces, UTF-8 (in the manner of RFC 8785)."""
    plain = data.dump() if isinstance(data, Document) else data
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(data: Document | Mapping[str, Any] | list[Any]) -> str:
    """`sha256:<64 hex digits>` of the canonical form."""
    return "sha256:" + hashlib.sha256(canonical_json(data)).hexdigest()
