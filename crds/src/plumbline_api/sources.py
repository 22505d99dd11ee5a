"""Where models, data sets and subjects come from: one-of unions whose members are named blocks."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from plumbline_api.model import Document
from plumbline_api.scalars import FilePath, Name

__all__ = [
    "DatasetSource",
    "FileSource",
    "ModelSource",
    "NamedRef",
    "OneOf",
    "SubjectSource",
]


class OneOf(Document):
    """Base of unions: exactly one of the fields is set, and `chosen` names it."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in type(self).model_fields if name in self._arms() and getattr(self, name) is not None]
        if len(given) != 1:
            arms = ", ".join(_wire(self, name) for name in self._arms())
            found = " and ".join(_wire(self, name) for name in given) or "none"
            raise ValueError(f"give exactly one of {arms} (found {found})")
        return self

    @classmethod
    def _arms(cls) -> tuple[str, ...]:
        return tuple(name for name, field in cls.model_fields.items() if not field.is_required())

    @property
    def chosen(self) -> str:
        """The wire name of the arm that is set."""
        return next(_wire(self, name) for name in self._arms() if getattr(self, name) is not None)


def _wire(model: Document, name: str) -> str:
    return type(model).model_fields[name].alias or name


class NamedRef(Document):
    """A reference to an object of a known kind in the same namespace."""

    name: Name
    """The object's name."""


class FileSource(Document):
    """A file or folder on this machine (local mode only)."""

    path: FilePath
    """Where it lies; a relative path starts at the folder of the manifest that names it."""


class ModelSource(OneOf):
    """A model: a folder with config.json, safetensors and a tokenizer, or the output of an earlier run."""

    file: FileSource | None = None
    """A model folder on this machine."""
    run: NamedRef | None = None
    """The output of an earlier AlignmentRun."""


class DatasetSource(OneOf):
    """A data set: a JSONL file."""

    file: FileSource | None = None
    """A JSONL file on this machine."""


class SubjectSource(OneOf):
    """A model to judge: the output of an AlignmentRun, or a model folder."""

    alignment_run: NamedRef | None = None
    """The output of an AlignmentRun."""
    file: FileSource | None = None
    """A model folder on this machine."""


Labels = Annotated[dict[str, str], Field(max_length=16)]
