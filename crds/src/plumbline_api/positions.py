"""YAML with positions: documents as plain JSON data, with the line of every field and each scalar's own text.

Called by manifests.py. Scalars are read as Kubernetes' tools read them (yes, no, on and off are booleans; times stay
text), aliases are expanded within a bound, a key given twice is a problem. Knows nothing of the kinds. No I/O.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.events import AliasEvent, Event, MappingStartEvent, NodeEvent, ScalarEvent, SequenceStartEvent

__all__ = ["Path", "Source", "Trouble", "format_path", "read_documents"]

Path = tuple[str | int, ...]
"""Keys and list indexes from the top of a document."""

MOST_CHARACTERS: Final = 1_048_576
MOST_NODES: Final = 100_000
DEEPEST: Final = 50

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"})
_FALSE = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MERGE = "<<"


class Trouble(Exception):
    """What makes a text unreadable from some line on."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True)
class Source:
    """One document: its data, and where everything stands."""

    data: Any
    line: int
    """The first line of the content."""
    lines: Mapping[Path, int]
    """The line of each key and list item."""
    texts: Mapping[Path, str]
    """Plain (unquoted) scalars as they were written."""
    blocks: Mapping[Path, int]
    """Literal block scalars: the line before their first."""
    doubled: tuple[tuple[Path, int, int], ...]
    """Keys given twice: path, line, line of the first."""

    def line_of(self, path: Path) -> int:
        """The line of a field, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)


def format_path(path: Path) -> str:
    """`spec.stages[0].dpo.beta`; keys with dots or slashes stand in brackets and quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def read_documents(text: str) -> Iterator[Source]:
    """The documents of a text in order, empty ones left out.

    Raises:
        Trouble: at the first place that cannot be read; what was yielded before stands.
    """
    if len(text) > MOST_CHARACTERS:
        raise Trouble(1, f"the file has {len(text)} characters, {MOST_CHARACTERS} at most are read; split it")
    stream = _events(text)
    for event in stream:
        if isinstance(event, NodeEvent):
            root = _compose(event, stream, {}, 0)
            source = _Reader().read(root)
            if source.data is not None:
                yield source


@dataclass(frozen=True)
class _Node:
    line: int


@dataclass(frozen=True)
class _Scalar(_Node):
    text: str
    plain: bool
    literal: bool


@dataclass(frozen=True)
class _List(_Node):
    items: list[_Node]


@dataclass(frozen=True)
class _Map(_Node):
    entries: list[tuple[_Node, _Node]]


def _events(text: str) -> Iterator[Event]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.problem, error.context) if part)
        line, column = (mark.line, mark.column) if mark else (0, 0)
        tab = "".join(text.split("\n")[line : line + 1])[column : column + 1] == "\t"
        raise Trouble(line + 1, f"not YAML: {what}" + ("; indent with spaces, not tabs" if tab else "")) from error
    except yaml.YAMLError as error:
        raise Trouble(1, "not YAML: the file holds characters that YAML does not allow") from error


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _compose(event: Event, stream: Iterator[Event], anchors: dict[str, _Node], depth: int) -> _Node:
    line = _line(event)
    if depth > DEEPEST:
        raise Trouble(line, f"nested more than {DEEPEST} deep")
    if isinstance(event, AliasEvent):
        if event.anchor not in anchors:
            raise Trouble(line, f"the alias *{event.anchor} has no anchor &{event.anchor} before it")
        return anchors[event.anchor]
    if not isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent):
        raise AssertionError(f"a parser cannot give {event} here")
    if event.tag not in (None, "!", *_TAGS):
        raise Trouble(line, f"the tag {event.tag} is not supported; leave it out")
    node = _compose_plain(event, stream, anchors, depth)
    if event.anchor:
        anchors[event.anchor] = node
    return node


_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq"))


def _compose_plain(
    event: ScalarEvent | SequenceStartEvent | MappingStartEvent,
    stream: Iterator[Event],
    anchors: dict[str, _Node],
    depth: int,
) -> _Node:
    line = _line(event)
    if isinstance(event, ScalarEvent):
        plain = not event.style and event.tag is None  # libyaml says '' where Python's parser says None
        return _Scalar(line, event.value, plain, event.style == "|")
    nodes: list[_Node] = []
    for inner in stream:
        if not isinstance(inner, NodeEvent):
            break
        nodes.append(_compose(inner, stream, anchors, depth + 1))
    if isinstance(event, SequenceStartEvent):
        return _List(line, nodes)
    return _Map(line, list(zip(nodes[::2], nodes[1::2], strict=True)))


@dataclass
class _Reader:
    """Turns nodes into data, and notes where everything stands."""

    lines: dict[Path, int] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)
    blocks: dict[Path, int] = field(default_factory=dict)
    doubled: list[tuple[Path, int, int]] = field(default_factory=list)
    left: int = MOST_NODES

    def read(self, root: _Node) -> Source:
        data = self._value(root, ())
        return Source(data, root.line, self.lines, self.texts, self.blocks, tuple(self.doubled))

    def _value(self, node: _Node, path: Path) -> Any:
        self._count(node)
        if isinstance(node, _Scalar):
            return self._scalar(node, path)
        if isinstance(node, _List):
            for index, item in enumerate(node.items):
                self.lines[(*path, index)] = item.line
            return [self._value(item, (*path, index)) for index, item in enumerate(node.items)]
        return self._mapping(node, path)

    def _scalar(self, node: _Scalar, path: Path) -> Any:
        if node.literal:
            self.blocks[path] = node.line
        if not node.plain:
            return node.text
        self.texts[path] = node.text
        return _resolve(node.text)

    def _mapping(self, node: _Node, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, line, value in self._entries(node):
            here = (*path, key)
            if key in found:
                self.doubled.append((here, line, self.lines[here]))
                continue
            self.lines[here] = line
            found[key] = self._value(value, here)
        return found

    def _entries(self, node: _Node) -> Iterator[tuple[str, int, _Node]]:
        """Own entries, then those of merged mappings (<<) whose keys are not there yet."""
        self._count(node)
        if not isinstance(node, _Map):
            raise Trouble(node.line, "<< merges mappings only")
        own = [(_key(key), key.line, value) for key, value in node.entries if not _merges(key)]
        yield from own
        names = {name for name, _, _ in own}
        for merged in [value for key, value in node.entries if _merges(key)]:
            for mapping in merged.items if isinstance(merged, _List) else [merged]:
                fresh = [entry for entry in self._entries(mapping) if entry[0] not in names]
                names.update(name for name, _, _ in fresh)
                yield from fresh

    def _count(self, node: _Node) -> None:
        self.left -= 1
        if self.left < 0:
            raise Trouble(node.line, f"more than {MOST_NODES} values once aliases (*name) are expanded; write fewer")


def _merges(key: _Node) -> bool:
    return isinstance(key, _Scalar) and key.plain and key.text == _MERGE


def _key(key: _Node) -> str:
    if not isinstance(key, _Scalar):
        raise Trouble(key.line, "a key must be text")
    if key.plain and (key.text in _NULL or isinstance(_resolve(key.text), bool)):
        raise Trouble(key.line, f'this key is not text; write it in quotes: "{key.text}"')
    return key.text


def _resolve(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) and math.isfinite(float(text)) else text
