"""Where models, data sets and subjects come from: one-of unions whose members are named blocks."""

from plumbline_api.constraints import exactly_one, optional_fields, wire_name
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

    _exactly_one = exactly_one()

    @classmethod
    def arms(cls) -> tuple[str, ...]:
        """The wire names of all arms."""
        return tuple(wire_name(cls, name) for name in optional_fields(cls))

    @property
    def chosen(self) -> str:
        """The wire name of the arm that is set."""
        return wire_name(type(self), self._chosen)

    @property
    def _chosen(self) -> str:
        return next(name for name in optional_fields(type(self)) if getattr(self, name) is not None)


class NamedRef(Document):
    """A reference to an object of a known kind in the same namespace."""

    name: Name
    """The object's name."""


class FileSource(Document):
    """A file or folder: in local mode as it is now, in a cluster as `plumbline push` published it."""

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
