"""Where an artifact comes from: its manifest, those of its parents, and so on, back to what was imported."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from plumbline_api.artifact import Manifest
from plumbline_store.errors import ArtifactMissing, DigestMismatch

__all__ = ["Lineage", "Presence", "trace"]


class Presence(StrEnum):
    """Whether the manifest of an artifact could be read."""

    PRESENT = "present"
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Lineage:
    """One artifact in a tree of origins; `role` is what it was to the one above (empty at the top)."""

    digest: str
    role: str
    presence: Presence
    manifest: Manifest | None
    parents: tuple["Lineage", ...] = ()
    repeated: bool = False
    """It stands further up in the tree already; its parents are shown only there."""

    def walk(self) -> Iterator[tuple[int, "Lineage"]]:
        """This artifact and everything below it, each with its depth, in the order of a printed tree."""
        ahead: list[tuple[int, Lineage]] = [(0, self)]
        while ahead:
            depth, item = ahead.pop()
            yield depth, item
            ahead.extend((depth + 1, parent) for parent in reversed(item.parents))


@dataclass(frozen=True)
class _Row:
    """An artifact as a line of the printed tree."""

    depth: int
    role: str
    digest: str
    presence: Presence
    manifest: Manifest | None
    repeated: bool


def trace(digest: str, read: Callable[[str], Manifest]) -> Lineage:
    """The tree that starts at `digest`; it ends, because no digest can contain itself, however deep it is."""
    rows = list(_rows(digest, read))
    below: dict[int, list[Lineage]] = {}
    for row in reversed(rows):
        parents = tuple(reversed(below.pop(row.depth + 1, [])))
        found = Lineage(row.digest, row.role, row.presence, row.manifest, parents, row.repeated)
        below.setdefault(row.depth, []).append(found)
    return below[0][0]


def _rows(digest: str, read: Callable[[str], Manifest]) -> Iterator[_Row]:
    seen: set[str] = set()
    ahead = [(0, "", digest)]
    while ahead:
        depth, role, current = ahead.pop()
        presence, manifest = _look(current, read)
        repeated = current in seen
        seen.add(current)
        yield _Row(depth, role, current, presence, manifest, repeated)
        if manifest is not None and not repeated:
            ahead.extend((depth + 1, parent.role, parent.digest) for parent in reversed(manifest.parents))


def _look(digest: str, read: Callable[[str], Manifest]) -> tuple[Presence, Manifest | None]:
    try:
        return Presence.PRESENT, read(digest)
    except ArtifactMissing:
        return Presence.MISSING, None
    except DigestMismatch:
        return Presence.DAMAGED, None
