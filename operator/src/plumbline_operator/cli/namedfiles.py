"""The files and folders that manifests name, with the place of each name. Called by `plumbline push`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plumbline_api.artifact import MediaType
from plumbline_api.configmap import ConfigMap
from plumbline_api.manifests import Located, Object, Problem
from plumbline_operator.cli.manifests import ManifestProblems
from plumbline_operator.plan.inputs import needed_inputs

__all__ = ["NamedFile", "check_one_meaning", "find_files"]


@dataclass(frozen=True)
class NamedFile:
    """A file or folder, and where a manifest names it."""

    namespace: str
    path: str
    """As the manifest writes it, which is how a cluster knows it."""
    at: Path
    """Where it lies here."""
    media_type: MediaType
    field: str
    located: Located[Object]

    @property
    def place(self) -> str:
        """The manifest, the line and the field."""
        return f"{self.located.filename}:{self.located.line_of(self.field)}: {self.field}"

    @property
    def kind(self) -> str:
        """The media type in one word."""
        return self.media_type.name.lower()

    def problem(self, message: str) -> Problem:
        """A problem with this name."""
        return self.located.problem(self.field, message)


def find_files(located: Sequence[Located[Object]], namespace: str, *, required: bool) -> tuple[NamedFile, ...]:
    """All of them, in the order of the manifests; each is there.

    Args:
        located: The manifests' objects.
        namespace: Where objects go whose manifests name none.
        required: Whether a manifest may name no other namespace, as for `kubectl -n`.

    Raises:
        ManifestProblems: with every file that is missing, and every object that belongs elsewhere.
    """
    problems: list[Problem] = []
    files: list[NamedFile] = []
    for item in located:
        stated = item.object.metadata.namespace if item.states("metadata.namespace") else None
        found = tuple(_of(item, stated or namespace))
        if found and required and stated not in (None, namespace):
            fact = f"is {stated}, but --namespace is {namespace}; leave one of them out"
            problems.append(item.problem("metadata.namespace", fact))
        missing = [one for one in found if not one.at.exists()]
        problems += [one.problem(f"{one.at} does not exist; create it, or correct the path") for one in missing]
        files += found
    if problems:
        raise ManifestProblems(problems)
    return tuple(files)


def check_one_meaning(digests: Iterable[tuple[NamedFile, str]]) -> None:
    """Raise ManifestProblems where a path means two contents in one namespace, which a cluster cannot tell apart."""
    first: dict[tuple[str, str], tuple[NamedFile, str]] = {}
    problems = []
    for file, digest in digests:
        other, known = first.setdefault((file.namespace, file.path), (file, digest))
        if known != digest:
            where = f"{other.located.filename}:{other.located.line_of(other.field)}"
            fact = f"{file.path} is another {other.kind} at {where}, and a namespace knows one content of a path"
            problems.append(file.problem(f"{fact}; rename one of them, or use two namespaces"))
    if problems:
        raise ManifestProblems(problems)


def _of(item: Located[Object], namespace: str) -> Iterator[NamedFile]:
    if isinstance(item.object, ConfigMap):
        return
    for needed in needed_inputs(item.object).values():
        at = Path(item.filename).parent / needed.source.path
        yield NamedFile(namespace, needed.source.path, at, needed.media_type, needed.field, item)
