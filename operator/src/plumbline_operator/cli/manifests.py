"""Manifests from files and folders, as the commands take them with -f."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from plumbline_api.manifests import Located, Object, Parsed, Problem, parse_manifests
from plumbline_api.references import ObjectName, check_references

__all__ = ["ManifestProblems", "load_manifests", "read_manifests"]

_SUFFIXES = (".yaml", ".yml", ".json")


class ManifestProblems(Exception):
    """The manifests are not in order; `problems` has every one of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def load_manifests(
    paths: Sequence[Path], existing: Collection[ObjectName] = frozenset()
) -> tuple[Located[Object], ...]:
    """All objects of these files and folders (a folder's own files, sorted by name), with references checked.

    Raises:
        ManifestProblems: with every problem of every file.
    """
    objects = read_manifests(paths)
    problems = check_references(objects, existing)
    if problems:
        raise ManifestProblems(problems)
    return objects


def read_manifests(paths: Sequence[Path]) -> tuple[Located[Object], ...]:
    """The same, for whoever cannot know which objects there are already: references are not checked.

    Raises:
        ManifestProblems: with every problem of every file.
    """
    objects: list[Located[Object]] = []
    problems: list[Problem] = []
    for path in paths:
        for parsed in _parse(path):
            objects.extend(parsed.objects)
            problems.extend(parsed.problems)
    if problems:
        raise ManifestProblems(problems)
    return tuple(objects)


def _parse(path: Path) -> Iterator[Parsed]:
    try:
        files = _files(path)
    except OSError as error:
        yield _unreadable(path, error.strerror or "cannot be read")
        return
    if not files:
        yield _unreadable(path, f"has no manifests ({', '.join(_SUFFIXES)}); name a file or another folder")
    for file in files:
        try:
            yield parse_manifests(file.read_text(encoding="utf-8"), str(file))
        except OSError as error:
            yield _unreadable(file, error.strerror or "cannot be read")
        except UnicodeDecodeError as error:
            yield _unreadable(file, f"is not UTF-8 text (byte {error.start}); save it as UTF-8")


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and not file.name.startswith("."))
    path.stat()
    return [path]


def _unreadable(path: Path, fact: str) -> Parsed:
    return Parsed(problems=(Problem(str(path), 1, "", fact),))
