"""The port to the world below the core, with two implementations: local (files and processes) and the API server.

Called by execute and by the loops that drive it. Nothing above knows which implementation is below.
"""

from typing import Protocol

from plumbline_operator.decision import Child, Event
from plumbline_operator.observed import ChildRef, Key, Observed, PlumblineObject, PlumblineStatus

__all__ = ["Cluster", "Sight"]

Sight = tuple[PlumblineObject, Observed]
"""An object and what was observed of it."""


class Cluster(Protocol):
    """Six verbs. All but `keys` and `observe` change something and are safe to repeat."""

    async def keys(self) -> tuple[Key, ...]:
        """All objects of our kinds."""

    async def observe(self, key: Key) -> Sight | None:
        """The object and its surroundings now, or None where it is gone."""

    async def apply(self, owner: Key, child: Child) -> None:
        """Create the child where it does not exist; one that does and may change gets what its manifest says."""

    async def delete(self, owner: Key, ref: ChildRef) -> None:
        """Remove the child (ending its processes); nothing happens where it is gone."""

    async def write_status(self, key: Key, status: PlumblineStatus) -> None:
        """Replace the status of the object."""

    async def emit(self, key: Key, event: Event) -> None:
        """Record an event about the object."""
