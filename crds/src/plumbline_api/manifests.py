"""Manifests: YAML texts as checked objects, every problem with its file, line, field path and the nearest valid name.

Called by `plumbline validate`, `plumbline run` and the tests of the examples. Pure: whoever calls it reads the files.
References between objects are checked by references.py.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from pydantic import ValidationError

from plumbline_api.alignment import AlignmentRun
from plumbline_api.configmap import ConfigMap
from plumbline_api.fields import fields_at
from plumbline_api.gate import EvalGate
from plumbline_api.guarded import GuardedInference
from plumbline_api.model import Document
from plumbline_api.names import API_VERSION, RULES_KEY
from plumbline_api.positions import Path, Source, Trouble, format_path, read_documents
from plumbline_api.redteam import RedTeamSuite
from plumbline_api.rules import GuardRules
from plumbline_api.suggestions import nearest
from plumbline_api.wording import complaints

__all__ = ["Located", "Object", "Parsed", "Problem", "as_served", "parse_manifests", "parse_rules"]

Object = AlignmentRun | RedTeamSuite | EvalGate | GuardedInference | ConfigMap
O_co = TypeVar("O_co", bound=Object, covariant=True)

_KINDS: Final[Mapping[str, type[Object]]] = {
    "AlignmentRun": AlignmentRun,
    "RedTeamSuite": RedTeamSuite,
    "EvalGate": EvalGate,
    "GuardedInference": GuardedInference,
    "ConfigMap": ConfigMap,
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a manifest."""

    filename: str
    line: int
    path: str
    """The field, for example spec.stages[0].dpo.beta; empty for a whole document."""
    message: str
    suggestion: str | None = None
    """The nearest valid name."""

    def __str__(self) -> str:
        where = f"{self.filename}:{self.line}: " + (f"{self.path}: " if self.path else "")
        return f"{where}{self.message}" + (f"; did you mean {self.suggestion}?" if self.suggestion else "")


@dataclass(frozen=True)
class Located(Generic[O_co]):
    """An object and where it was written."""

    object: O_co
    filename: str
    line: int
    _source: Source = field(repr=False, compare=False)

    def line_of(self, path: str) -> int:
        """The line of a field such as `spec.stages[0].dpo.dataset`, or of the nearest thing around it."""
        lines = {format_path(known): line for known, line in self._source.lines.items()}
        while path and path not in lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return lines.get(path, self.line)

    def states(self, path: str) -> bool:
        """Whether the manifest itself has this field, which may as well be a default."""
        return any(format_path(known) == path for known in self._source.lines)

    def problem(self, path: str, message: str, suggestion: str | None = None) -> Problem:
        """A problem with a field of this object."""
        return Problem(self.filename, self.line_of(path), path, message, suggestion)


@dataclass(frozen=True)
class Parsed:
    """What a text holds."""

    objects: tuple[Located[Object], ...] = ()
    """The objects without a problem, in order."""
    problems: tuple[Problem, ...] = ()
    """In the order of their lines."""


def parse_manifests(text: str, filename: str) -> Parsed:
    """Read all documents of a YAML (or JSON) text; one broken document does not hide the problems of the others."""
    objects: list[Located[Object]] = []
    problems: list[Problem] = []
    try:
        for source in read_documents(text):
            found = _parse(source, filename)
            if isinstance(found, Located):
                objects.append(found)
            else:
                problems.extend(found)
    except Trouble as trouble:
        problems.append(Problem(filename, trouble.line, "", trouble.message))
    return Parsed(tuple(objects), tuple(sorted(problems, key=lambda problem: problem.line)))


def parse_rules(
    text: str, filename: str, path: Path = (), line_of: Callable[[int], int] = lambda line: line
) -> GuardRules | tuple[Problem, ...]:
    """The guard rules in a text, or what is wrong with them.

    Args:
        text: YAML, as under RULES_KEY of a ConfigMap.
        filename: What problems are reported of.
        path: Where the text itself stands in a manifest.
        line_of: The line in the file of a line of the text.
    """
    try:
        documents = list(read_documents(text))
    except Trouble as trouble:
        return (Problem(filename, line_of(trouble.line), format_path(path), trouble.message),)
    if len(documents) != 1:
        fact = "holds more than one document; keep one" if documents else "holds no rules; write rules: [...]"
        return (Problem(filename, line_of(documents[1].line if documents else 1), format_path(path), fact),)
    problems = (
        *_doubled(documents[0], filename, path, line_of),
        *_check(GuardRules, documents[0], filename, path, line_of),
    )
    return problems or GuardRules.parse(documents[0].data)


def _parse(source: Source, filename: str) -> Located[Object] | list[Problem]:
    problems = list(_doubled(source, filename, (), _same))
    kind = _kind_of(source, filename)
    if isinstance(kind, Problem):
        return [*problems, kind]
    problems += _check(kind, source, filename, (), _same)
    if kind is ConfigMap:
        problems += _check_rules(source, filename)
    if problems:
        return problems
    return Located(kind.parse(as_served(kind, source.data)), filename, source.line, source)


def as_served(kind: type[Object], data: dict[str, Any]) -> dict[str, Any]:
    """A manifest as the API server reads it: a field of the spec that is null is left out."""
    if kind is ConfigMap or "spec" not in data:
        return data
    return {**data, "spec": _without_nulls(kind, data["spec"], ("spec",))}


def _without_nulls(kind: type[Object], data: Any, path: Path) -> Any:
    if isinstance(data, list):
        return [_without_nulls(kind, entry, (*path, index)) for index, entry in enumerate(data)]
    if not isinstance(data, dict):
        return data
    known = set(fields_at(kind, path)) if None in data.values() else ()
    return {
        key: _without_nulls(kind, value, (*path, key))
        for key, value in data.items()
        if value is not None or key not in known
    }


def _kind_of(source: Source, filename: str) -> type[Object] | Problem:
    def problem(path: str, message: str, suggestion: str | None = None) -> Problem:
        return Problem(filename, source.line_of((path,) if path else ()), path, message, suggestion)

    if not isinstance(source.data, dict):
        return problem("", "a manifest is a mapping with apiVersion, kind, metadata and spec")
    kind, version = source.data.get("kind"), source.data.get("apiVersion")
    if kind is None:
        return problem("kind", f"is missing, but required; read are {', '.join(_KINDS)}")
    if not isinstance(kind, str) or kind not in _KINDS:
        shown = kind if isinstance(kind, str) else "this"
        return problem(
            "kind", f"{shown} is not a kind that is read here; read are {', '.join(_KINDS)}", nearest(shown, _KINDS)
        )
    wanted = "v1" if kind == "ConfigMap" else API_VERSION
    if version is None:
        return problem("apiVersion", f"is missing, but required; write apiVersion: {wanted}")
    if version != wanted:
        shown = version if isinstance(version, str) else "something that is not text"
        return problem("apiVersion", f"{kind} is not known in {shown}", wanted)
    return _KINDS[kind]


def _check(
    model: type[Document], source: Source, filename: str, prefix: Path, line_of: Callable[[int], int]
) -> Iterator[Problem]:
    data = as_served(model, source.data) if issubclass(model, Object) else source.data
    try:
        model.parse(data)
    except ValidationError as error:
        for complaint in complaints(model, error, source.data, source.texts):
            line = line_of(source.line_of(complaint.path))
            path = format_path((*prefix, *complaint.path))
            yield Problem(filename, line, path, complaint.message, complaint.suggestion)


def _same(line: int) -> int:
    return line


def _check_rules(source: Source, filename: str) -> Iterator[Problem]:
    """The guard rules in a ConfigMap, with the lines they have in the whole file."""
    data, here = source.data.get("data"), ("data", RULES_KEY)
    text = data.get(RULES_KEY) if isinstance(data, dict) else None
    if not isinstance(text, str):
        return
    block = source.blocks.get(here)

    def line_of(inner: int) -> int:
        return block + inner if block else source.line_of(here)

    found = parse_rules(text, filename, here, line_of)
    if not isinstance(found, GuardRules):
        yield from found


def _doubled(source: Source, filename: str, prefix: Path, line_of: Callable[[int], int]) -> Iterator[Problem]:
    for path, line, first in source.doubled:
        message = f"given twice (first on line {line_of(first)}); remove one"
        yield Problem(filename, line_of(line), format_path((*prefix, *path)), message)
