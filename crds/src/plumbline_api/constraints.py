"""Rules beyond the type of a field, each declared once for its two readers: pydantic and the API server.

The Python half refuses a manifest on a person's machine, the CEL half (Common Expression Language, in core functions
only) goes into the CRD, and both say the same words. Called by the models; read by structural.py when CRDs are made.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "LIST_KEYS", "LIST_TYPE", "VALIDATIONS", "Checked", "Unique", "Validation", "add_validations", "cel_name",
    "constraint", "exactly_one", "optional_fields", "validations_of", "wire_name",
]  # fmt: skip

VALIDATIONS: Final = "x-kubernetes-validations"
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_KEYS: Final = "x-kubernetes-list-map-keys"

M = TypeVar("M", bound=BaseModel)

_RESERVED: Final = frozenset(
    "true false null in as break const continue else for function if import let loop package namespace return var void "
    "while".split()
)


class Validation(NamedTuple):
    """What the API server checks: an expression over `self`, and what it says where that is false."""

    rule: str
    message: str
    field: str = ""
    """The field of `self` that is to blame; empty for `self` as a whole."""

    @property
    def schema(self) -> dict[str, str]:
        """An entry of `x-kubernetes-validations`."""
        return {"rule": self.rule, "message": self.message} | ({"fieldPath": f".{self.field}"} if self.field else {})


def constraint(message: str, *, cel: str, field: str = "") -> Callable[[Callable[[M], bool]], Any]:
    """Make a method of a document into a rule between its fields.

    Args:
        message: What must be so, in words that continue `field` where there is one.
        cel: The same as an expression over `self`, in wire names; true where the method is.
        field: Wire name of the one field that the message speaks of.

    Returns:
        A decorator for a method that says whether the rule holds.
    """

    def decorate(holds: Callable[[M], bool]) -> Any:
        def check(document: M) -> M:
            if not holds(document):
                raise ValueError(f"{field}: {message}" if field else message)
            return document

        return _as_validator(check, lambda _: Validation(cel, f"{field} {message}".strip(), field))

    return decorate


def exactly_one(*names: str) -> Any:
    """A rule: exactly one of these fields is given, or, where none are named, of all that may be left out."""

    def check(document: M) -> M:
        model = type(document)
        arms = names or optional_fields(model)
        given = [wire_name(model, arm) for arm in arms if getattr(document, arm) is not None]
        if len(given) != 1:
            raise ValueError(f"{_one_of(model, arms)} (found {' and '.join(given) or 'none'})")
        return document

    def validation(model: type[BaseModel]) -> Validation:
        arms = names or optional_fields(model)
        given = [f"has(self.{cel_name(wire_name(model, arm))})" for arm in arms]
        return Validation(_exactly_one_true(given), _one_of(model, arms))

    return _as_validator(check, validation)


def _one_of(model: type[BaseModel], arms: Iterable[str]) -> str:
    return f"give exactly one of {', '.join(wire_name(model, arm) for arm in arms)}"


def _exactly_one_true(terms: Sequence[str]) -> str:
    if len(terms) <= 2:
        return " != ".join(terms)
    return f"[{', '.join(terms)}].exists_one(given, given)"


@cache
def optional_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """The fields of a model that may be left out."""
    return tuple(name for name, field in model.model_fields.items() if not field.is_required())


def wire_name(model: type[BaseModel], name: str) -> str:
    """A field's name in manifests and files."""
    return model.model_fields[name].alias or name


def cel_name(field: str) -> str:
    """A field's name in an expression: what CEL keeps for itself is written between underscores."""
    return f"__{field}__" if field in _RESERVED else field


_ATTRIBUTE: Final = "plumbline_validation"


def _as_validator(check: Callable[[M], M], validation: Callable[[type[BaseModel]], Validation]) -> Any:
    setattr(check, _ATTRIBUTE, validation)
    return model_validator(mode="after")(check)


def validations_of(model: type[BaseModel]) -> tuple[Validation, ...]:
    """The rules between a model's fields, inherited ones first."""
    found: dict[str, Validation] = {}
    for parent in reversed(model.__mro__):
        for name, value in vars(parent).items():
            if (validation := getattr(value, _ATTRIBUTE, None)) is not None:
                found[name] = validation(model)
    return tuple(found.values())


def add_validations(schema: JsonSchemaValue, validations: Iterable[Validation]) -> None:
    """Add rules to the schema of what they speak of."""
    if new := [validation.schema for validation in validations]:
        schema[VALIDATIONS] = [*schema.get(VALIDATIONS, ()), *new]


@dataclass(frozen=True)
class Checked:
    """Annotates a type with a rule on one text; `holds` may also raise ValueError with words that say more."""

    message: str
    """What is wrong with a text that does not hold, in words that follow it."""
    cel: str
    """The same as `holds`, as an expression over `self`."""
    holds: Callable[[str], bool]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check after the type itself."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tell the API server."""
        found = handler(schema)
        add_validations(found, [Validation(self.cel, self.message)])
        return found

    def _check(self, text: str) -> str:
        if not self.holds(text):
            raise ValueError(f'"{text}" {self.message}')
        return text


@dataclass(frozen=True)
class Unique:
    """Annotates a list in which nothing may stand twice: texts, or documents that one required text tells apart.

    The API server sees a set or a list-map (of which it compares entries by key, in any order).
    """

    key: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check after the list itself."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tell the API server."""
        return handler(schema) | ({LIST_TYPE: "map", LIST_KEYS: [self.key]} if self.key else {LIST_TYPE: "set"})

    def _check(self, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        seen = set[Any]()
        for entry in entries:
            found = getattr(entry, self.key) if self.key else entry
            if found in seen and self.key:
                raise ValueError(f"two entries have the {self.key} {found}; each needs one of its own")
            if found in seen:
                raise ValueError(f"{found} stands twice; name it once")
            seen.add(found)
        return entries
