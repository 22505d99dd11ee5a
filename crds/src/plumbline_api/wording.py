"""What is wrong with a document, in plain words: pydantic's errors as complaints with a path and the nearest name.

Called by manifests.py; pure.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from plumbline_api import compute, engine, meta, scalars
from plumbline_api.fields import fields_at
from plumbline_api.positions import Path
from plumbline_api.suggestions import UnknownName, nearest

__all__ = ["Complaint", "complaints"]


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong, at one place."""

    path: Path
    message: str
    suggestion: str | None = None


def complaints(model: type[BaseModel], error: ValidationError, data: Any, texts: Mapping[Path, str]) -> list[Complaint]:
    """The errors of `model` about `data`, in plain words; what only follows from another error is left out."""
    details = error.errors(include_url=False)
    found = [_tell(model, detail, data, texts) for detail in details if not _follows(detail, data)]
    meant = {(*complaint.path[:-1], complaint.suggestion) for complaint in found if complaint.suggestion}
    return [complaint for complaint in found if complaint.message != MISSING or complaint.path not in meant]


MISSING: Final = "is missing, but required"

_SERVER_FIELDS: Final = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "ownerReferences"}
)
_SHAPES: Final[Mapping[str, str]] = {
    "Name": "a name: lower-case letters, digits and '-', at most 40, beginning and ending with a letter or digit",
    "Digest": "a digest: sha256: and 64 hexadecimal digits",
    "DecimalText": 'a number of at least zero, such as "0.1", "5e-7" or "3"',
    "Confidence": 'a share below 1 with at most four decimals, such as "0.95"',
    "Rate": 'a share between "0" and "1", such as "0.05"',
    "Duration": "a duration, such as 1h30m or 90s",
    "Quantity": "a quantity, such as 500m, 2 or 4Gi",
    "FilePath": "a path",
}


def _pattern_of(annotated: Any) -> str:
    return next(str(entry.pattern) for entry in annotated.__metadata__ if getattr(entry, "pattern", None))


_BY_PATTERN: Final = {_pattern_of(getattr(scalars, name)): words for name, words in _SHAPES.items()}
_BY_PATTERN[_pattern_of(meta.LabelKey)] = "a key of a label, such as app or example.org/app"
_BY_PATTERN[_pattern_of(meta.AnnotationKey)] = "a key of an annotation, such as note or example.org/note"
_BY_PATTERN[_pattern_of(meta.LabelValue)] = "a value of a label: letters, digits, '-', '_' and '.', at most 63"
_BY_PATTERN[_pattern_of(engine.ArgumentValue)] = "a value of an option: lower-case letters, digits, '.', '_' and '-'"
_BY_PATTERN[_pattern_of(compute.ResourceName)] = "a resource with its domain, such as nvidia.com/gpu"


def _follows(detail: ErrorDetails, data: Any) -> bool:
    """A list is too short only because its items were refused."""
    if detail["type"] != "too_short":
        return False
    value = _at(data, tuple(detail["loc"]))
    return isinstance(value, Sequence | Mapping) and len(value) >= int(detail["ctx"]["min_length"])


def _tell(model: type[BaseModel], detail: ErrorDetails, data: Any, texts: Mapping[Path, str]) -> Complaint:
    path = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        return _unknown_field(model, path)
    if detail["type"] == "missing":
        empty = str(path[-1]) in (_at(data, path[:-1]) or {})
        return Complaint(path, "is empty, but required" if empty else MISSING)
    if detail["type"] in ("enum", "literal_error"):
        known = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
        given = detail["input"]
        suggestion = nearest(given, known) if isinstance(given, str) else None
        return Complaint(path, f"{_shown(given)} is not one of {', '.join(known)}", suggestion)
    if detail["type"] == "value_error":
        return _refused(model, path, detail["ctx"]["error"])
    if detail["type"] == "string_type":
        return Complaint(path, _wants_text(detail["input"], texts.get(path)))
    return Complaint(path, _sentence(detail))


def _unknown_field(model: type[BaseModel], path: Path) -> Complaint:
    name = str(path[-1])
    if path == ("status",):
        return Complaint(path, "a status is written by Plumbline and not by people; leave it out")
    if path[0] == "metadata" and name in _SERVER_FIELDS:
        return Complaint(path, "this field is written by the API server and not by people; leave it out")
    known = tuple(fields_at(model, path[:-1]))
    suggestion = nearest(name, known)
    rest = "" if suggestion or not known else f"; known here are {', '.join(known)}"
    return Complaint(path, f"unknown field{rest}", suggestion)


def _refused(model: type[BaseModel], path: Path, error: Exception) -> Complaint:
    """What a validator of ours says; one that speaks of a single field begins with its name and a colon."""
    if isinstance(error, UnknownName):
        return Complaint(path, str(error), nearest(error.name, error.known))
    first, _, rest = str(error).partition(": ")
    if rest and first in tuple(fields_at(model, path)):
        return Complaint((*path, first), rest)
    return Complaint(path, str(error))


def _wants_text(value: Any, text: str | None) -> str:
    if isinstance(value, bool | int | float):
        return f'write it as a string: "{value if text is None else text}"'
    return f"must be a string, but it is {_shown(value)}"


_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than_equal": ("must be at least {}", "ge"),
    "greater_than": ("must be above {}", "gt"),
    "less_than_equal": ("must be at most {}", "le"),
    "less_than": ("must be below {}", "lt"),
    "string_too_short": ("must have at least {} characters", "min_length"),
    "string_too_long": ("must have at most {} characters", "max_length"),
    "too_short": ("must have this many entries at least: {}", "min_length"),
    "too_long": ("must have this many entries at most: {}", "max_length"),
}
_WANTED: Final[Mapping[str, str]] = {
    "int_type": "a whole number without quotes",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number without quotes",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}


def _sentence(detail: ErrorDetails) -> str:
    kind, given = detail["type"], detail["input"]
    if kind in _BOUNDS:
        template, key = _BOUNDS[kind]
        found = f" (found {given})" if isinstance(given, int | float) else ""
        return template.format(detail["ctx"][key]) + found
    if kind == "int_type" and isinstance(given, float):
        return f"must be a whole number, but it is {given}"
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, but it is {_shown(given)}"
    if kind == "string_pattern_mismatch":
        pattern = str(detail["ctx"]["pattern"])
        return f"{_shown(given)} is not {_BY_PATTERN.get(pattern, f'of the form {pattern}')}"
    return str(detail["msg"])


_NAMES_OF_TYPES: Final[Sequence[tuple[type | tuple[type, ...], Callable[[Any], str]]]] = (
    (NoneType, lambda _: "empty"),
    (bool, lambda value: "true" if value else "false"),
    ((int, float), str),
    (str, lambda value: f'"{value}"' if len(value) <= 80 and value.isprintable() else "a longer text"),
    (dict, lambda _: "a mapping"),
    (list, lambda _: "a list"),
)


def _shown(value: Any) -> str:
    return next((show(value) for kind, show in _NAMES_OF_TYPES if isinstance(value, kind)), "something else")


def _at(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data
