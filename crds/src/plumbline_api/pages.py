"""Tables of fields and values in the documentation, written from the models.

`python -m plumbline_api.pages DIR` rewrites, in every page of a folder, what stands between
`<!-- fields AlignmentRunSpec -->` (or `<!-- values Verdict -->`) and `<!-- end -->`. A test compares.
"""

import importlib
import json
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import plumbline_api
from plumbline_api import scalars
from plumbline_api.docstrings import attribute_docs

__all__ = ["fill"]

_BLOCK: Final = re.compile(r"(<!-- (fields|values) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NOUNS: Final = {
    "Name": "name",
    "Digest": "digest",
    "DecimalText": "number in quotes",
    "Rate": "share in quotes",
    "Confidence": "share in quotes",
    "Duration": "duration",
    "Quantity": "quantity",
    "FilePath": "path",
}


def fill(text: str) -> str:
    """The page with its tables as the models are now."""
    return _BLOCK.sub(lambda match: match[1] + _table(match[2], match[3]) + match[4], text)


def _table(what: str, name: str) -> str:
    kind = _contract()[name]
    if what == "values":
        docs = attribute_docs(kind)
        rows = [
            f"| `{member.value}` | {_cell(docs.get(member.name, ''))} |" for member in typing.cast(type[Enum], kind)
        ]
        return "\n".join(["| Value | Meaning |", "|---|---|", *rows, ""])
    return "\n".join(["| Field | Type | Default | Meaning |", "|---|---|---|---|", *_rows(kind), ""])


@cache
def _contract() -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for module in pkgutil.iter_modules(plumbline_api.__path__):
        if module.name not in ("pages", "schemas"):
            loaded = importlib.import_module(f"plumbline_api.{module.name}")
            found |= {name: kind for name, kind in vars(loaded).items() if isinstance(kind, type)}
    return found


def _rows(model: type[BaseModel]) -> Iterator[str]:
    """The fields that a model declares itself; what it inherits has a table of its own."""
    docs = attribute_docs(model)
    for name, field in model.model_fields.items():
        if name in model.__annotations__:
            kind, meaning = _kind(field.annotation, field.metadata), _cell(docs.get(name, ""))
            yield f"| `{field.alias or name}` | {kind} | {_default(model, name, field)} | {meaning} |"


def _default(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if value is None or value == {}:
        return ""
    if isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
        return "see below"
    shown = f"`{json.dumps(value)}`"
    return shown if len(shown) <= (120 if isinstance(value, str) else 40) else "see below"


def _kind(annotation: Any, metadata: list[Any]) -> str:
    annotation, metadata = _unwrap(annotation, metadata)
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is tuple:
        return f"list of {_kind(arguments[0], [])}"
    if origin is dict:
        return f"map of {_kind(arguments[1], [])}"
    if origin is typing.Literal:
        return f"`{arguments[0]}`"
    if issubclass(annotation, Enum):
        values = [f"`{member.value}`" for member in annotation]
        return ", ".join(values) if len(values) <= 4 else annotation.__name__
    if issubclass(annotation, BaseModel):
        return str(annotation.__name__)
    return _scalar(annotation, metadata)


def _scalar(annotation: Any, metadata: list[Any]) -> str:
    for name, noun in _NOUNS.items():
        if any(entry in getattr(scalars, name).__metadata__ for entry in metadata):
            return noun
    if annotation is bool:
        return "`true`, `false`"
    if annotation is int:
        least = next((entry.ge for entry in metadata if getattr(entry, "ge", None) is not None), None)
        most = next((entry.le for entry in metadata if getattr(entry, "le", None) is not None), None)
        return "whole number" if most is None else f"{least} to {most}"
    return "text"


def _unwrap(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """Without Annotated and Optional, and with what they carry."""
    while True:
        if hasattr(annotation, "__metadata__"):
            for entry in annotation.__metadata__:
                metadata = [*metadata, entry, *(entry.metadata if isinstance(entry, FieldInfo) else ())]
            annotation = typing.get_args(annotation)[0]
        elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
            annotation = next(part for part in typing.get_args(annotation) if part is not types.NoneType)
        else:
            return annotation, metadata


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(folder: str) -> None:
    """Rewrite the tables of every page in a folder."""
    for page in sorted(Path(folder).glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := fill(text)) != text:
            page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
