"""What decide() asks for: children to apply and delete, the status to write, events to emit."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from plumbline_api.reasons import Reason
from plumbline_operator.observed import ChildRef, PlumblineStatus

__all__ = ["Child", "Decision", "Event", "EventType"]


@dataclass(frozen=True)
class Child:
    """A Kubernetes object to create, as its manifest. Its name is computed from its content."""

    ref: ChildRef
    manifest: Mapping[str, Any]


class EventType(StrEnum):
    """Severity of an event, as Kubernetes has it."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True)
class Event:
    """Something a person may want to know when it happens."""

    type: EventType
    reason: Reason
    message: str


@dataclass(frozen=True)
class Decision:
    """The difference between the world as observed and the world as it should be."""

    status: PlumblineStatus
    apply: tuple[Child, ...] = ()
    """In the order in which they must be created."""
    delete: tuple[ChildRef, ...] = ()
    """To be carried out after the status was written: what is known of a child must not go with it."""
    events: tuple[Event, ...] = ()
    wake_after: float | None = None
    """Seconds after which to decide again, because time alone will change the answer; None where it will not."""
