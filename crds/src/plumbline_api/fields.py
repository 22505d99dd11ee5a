"""Which fields a document has at a path, read from the annotations of its model.

Called by wording.py, which names the fields that were meant, and by manifests.py.
"""

import typing
from collections.abc import Iterator
from types import NoneType
from typing import Any

from pydantic import BaseModel

from plumbline_api.positions import Path

__all__ = ["fields_at"]


def fields_at(model: type[BaseModel], path: Path) -> Iterator[str]:
    """The wire names of the fields that an object at `path` may have."""
    found: Any = model
    for part in path:
        found = _inside(found, part)
    if isinstance(found, type) and issubclass(found, BaseModel):
        yield from (field.alias or name for name, field in found.model_fields.items())


def _inside(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if part in (field.alias, name):
                return _bare(field.annotation)
        return None
    arguments = typing.get_args(annotation)
    return _bare(arguments[0] if isinstance(part, int) else arguments[-1]) if arguments else None


def _bare(annotation: Any) -> Any:
    """An annotation without Annotated, Optional and Required."""
    while True:
        arguments = [argument for argument in typing.get_args(annotation) if argument is not NoneType]
        if hasattr(annotation, "__metadata__") or (NoneType in typing.get_args(annotation) and len(arguments) == 1):
            annotation = arguments[0]
        else:
            return annotation
