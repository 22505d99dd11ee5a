"""Looking into objects as the API server sends them: conditions, times, containers. Pure; used by states."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

__all__ = ["Raw", "condition", "containers_of", "is_controlled_by", "is_true", "moment", "name_of", "part"]

Raw = Mapping[str, Any]


def part(raw: Raw, *path: str) -> Raw:
    """The mapping at a path; an empty one where there is none."""
    for key in path:
        raw = raw.get(key) or {}
    return raw


def name_of(raw: Raw) -> str:
    """The name of an object."""
    return str(part(raw, "metadata").get("name", ""))


def condition(raw: Raw, wanted: str) -> Raw | None:
    """The condition of this type in a status, or None."""
    found: Sequence[Raw] = part(raw, "status").get("conditions") or ()
    return next((entry for entry in found if entry.get("type") == wanted), None)


def is_true(raw: Raw, wanted: str) -> bool:
    """Whether the condition of this type is there and True."""
    found = condition(raw, wanted)
    return found is not None and found.get("status") == "True"


def moment(text: object) -> datetime | None:
    """A time of the API (RFC 3339), or None where there is none."""
    if not isinstance(text, str) or not text:
        return None
    return datetime.fromisoformat(text).astimezone(UTC)


def containers_of(pod: Raw) -> tuple[Raw, ...]:
    """The statuses of all containers of a pod, those that start first in front."""
    status = part(pod, "status")
    return (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))


def is_controlled_by(raw: Raw, owner: Raw) -> bool:
    """Whether the owner, and not an earlier object of its name, made this one."""
    uid = part(owner, "metadata").get("uid")
    references: Sequence[Raw] = part(raw, "metadata").get("ownerReferences") or ()
    return any(entry.get("controller") and entry.get("uid") == uid for entry in references)
