"""How tools that wait read a status: cli-utils' kstatus for custom resources (Helm 4's `--wait`, Flux), in Python.

And the further rules that Flux's conditions checker holds a controller to.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

__all__ = ["KStatus", "flux_complaints", "kstatus_of"]

Object = dict[str, Any]


class KStatus(StrEnum):
    """The statuses of kstatus."""

    TERMINATING = "Terminating"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"


def kstatus_of(thing: Object) -> KStatus:
    """The status of an object (pkg/kstatus/status: Compute, for a kind without rules of its own)."""
    if thing["metadata"].get("deletionTimestamp"):
        return KStatus.TERMINATING
    status = thing.get("status") or {}
    generation = thing["metadata"].get("generation")
    if generation is not None and "observedGeneration" in status and status["observedGeneration"] != generation:
        return KStatus.IN_PROGRESS
    for condition in status.get("conditions") or ():
        if condition["status"] == "True" and condition["type"] == "Reconciling":
            return KStatus.IN_PROGRESS
        if condition["status"] == "True" and condition["type"] == "Stalled":
            return KStatus.FAILED
    for condition in status.get("conditions") or ():
        if condition["type"] == "Ready":
            return KStatus.CURRENT if condition["status"] == "True" else KStatus.IN_PROGRESS
    # Nothing contradicts it: kstatus takes silence for consent.
    return KStatus.CURRENT


def flux_complaints(thing: Object) -> Iterator[str]:
    """What Flux's checker (pkg/runtime/conditions/check) would fail a controller for."""
    status = thing["status"]
    found = {condition["type"]: condition for condition in status["conditions"]}
    ready = found.get("Ready", {"status": "absent"})
    abnormal = [found[kind] for kind in ("Reconciling", "Stalled") if kind in found]
    if ready["status"] == "absent":
        yield "Ready is always present"
    if any(condition["status"] != "True" for condition in abnormal):
        yield "Reconciling and Stalled are present only while True"
    if len(abnormal) > 1:
        yield "Reconciling and Stalled are never together"
    if "Stalled" in found and ready["status"] != "False":
        yield "Stalled means that Ready is False"
    if ready["status"] == "True" and abnormal:
        yield "nothing abnormal is True beside Ready"
    if ready["status"] == "Unknown" and "Reconciling" not in found:
        yield "Ready is Unknown only while Reconciling"
    root = status["observedGeneration"]
    if ready["status"] == "True" and any(condition["observedGeneration"] != root for condition in found.values()):
        yield "every condition of what is Ready speaks of the root's generation"
    if any(condition["observedGeneration"] > root for condition in found.values()):
        yield "no condition is ahead of the root's generation"
