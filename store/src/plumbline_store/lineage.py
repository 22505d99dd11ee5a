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

    def walk(self, depth: int = 0) -> Iterator[tuple[int, "Lineage"]]:
        """This artifact and everything below it, each with its depth, in the order of a printed tree."""
        yield depth, self
        for parent in self.parents:
            yield from parent.walk(depth + 1)


def trace(digest: str, read: Callable[[str], Manifest], role: str = "") -> Lineage:
    """The tree that starts at `digest`; it always ends, because a digest cannot contain itself."""
    try:
        manifest = read(digest)
    except ArtifactMissing:
        return Lineage(digest, role, Presence.MISSING, None)
    except DigestMismatch:
        return Lineage(digest, role, Presence.DAMAGED, None)
    parents = tuple(trace(parent.digest, read, parent.role) for parent in manifest.parents)
    return Lineage(digest, role, Presence.PRESENT, manifest, parents)
