"""How many objects there are of each kind, phase and method, and how many gates of each verdict; kept up to date."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from plumbline_api.names import Kind
from plumbline_operator.observed import Key

__all__ = ["Census", "Standing"]


class Standing(NamedTuple):
    """What is counted of an object."""

    kind: Kind
    phase: str
    method: str
    """The block of a run's last stage, for example dpo; empty for other kinds."""
    verdict: str
    """Of a gate that has one."""


class Census:
    """Counts, changed by one for each change of an object."""

    def __init__(self) -> None:
        self.counts: Counter[Standing] = Counter()
        self._standings: dict[Key, Standing] = {}

    def count(self, key: Key, raw: Mapping[str, Any]) -> None:
        """Count an object as it is now."""
        self.leave_out(key)
        standing = _standing(key.kind, raw)
        self._standings[key] = standing
        self.counts[standing] += 1

    def leave_out(self, key: Key) -> None:
        """Count an object no longer."""
        before = self._standings.pop(key, None)
        if before is None:
            return
        self.counts[before] -= 1
        if not self.counts[before]:
            del self.counts[before]


def _standing(kind: Kind, raw: Mapping[str, Any]) -> Standing:
    status, method = raw.get("status") or {}, ""
    if kind == Kind.ALIGNMENT_RUN:
        stages = (raw.get("spec") or {}).get("stages") or [{}]
        method = next((block for block in stages[-1] if block != "name"), "")
    return Standing(kind, str(status.get("phase") or "Pending"), method, str(status.get("verdict") or ""))
