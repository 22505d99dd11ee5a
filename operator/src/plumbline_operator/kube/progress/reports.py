"""What Jobs have reported: the newest of each, in memory. A process that ends loses nothing but seconds.

Filled by the status endpoint; read when a Job is observed. Bounded by the Jobs that there are, one report for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from plumbline_api.names import Kind
from plumbline_api.progress import Progress
from plumbline_operator.kube.api.resources import Resource
from plumbline_operator.kube.queue import WorkQueue
from plumbline_operator.kube.seen.cache import Cache, Name
from plumbline_operator.kube.seen.relations import woken_by
from plumbline_operator.observed import Key

__all__ = ["Reports"]

Raw = Mapping[str, Any]

_PERIOD: Final = 15.0
"""Seconds between two looks at an owner for a report alone: its status is not written more often for one."""


@dataclass(slots=True)
class _Report:
    resource: Resource
    uid: str
    progress: Progress
    woken: datetime


class Reports:
    """The newest report of each Job, and of each JobSet, which is told of as one."""

    def __init__(self, cache: Cache, queue: WorkQueue[Key]) -> None:
        self._cache = cache
        self._queue = queue
        self._newest: dict[Name, _Report] = {}

    def __len__(self) -> int:
        """How many Jobs have one."""
        return len(self._newest)

    def newest(self, namespace: str, job: str) -> Progress | None:
        """The newest of a Job; one of an earlier Job of its name is none."""
        report = self._newest.get((namespace, job))
        return None if report is None or self._is_over((namespace, job), report) else report.progress

    def put(self, resource: Resource, job: Raw, progress: Progress) -> None:
        """Take a report (of a Job or a JobSet) in the place of the last, and see to it that the owner is looked at."""
        metadata = job["metadata"]
        name, uid, now = (metadata["namespace"], metadata["name"]), metadata["uid"], progress.last_updated_time
        before = self._newest.get(name)
        if before is not None and before.uid != uid:
            before = None
        # A clock that was set back makes one look too many, and none too few.
        left = 0.0 if before is None else _PERIOD - abs((now - before.woken).total_seconds())
        woken = now if before is None or left <= 0 else before.woken
        self._newest[name] = _Report(resource, uid, progress, woken)
        for key in woken_by(resource, job):
            # A suite is interested in the end of a Job alone.
            if key.kind != Kind.RED_TEAM_SUITE:
                self._queue.add_after(key, left)

    def sweep(self) -> None:
        """Let go of Jobs that are gone."""
        for name in [name for name, report in self._newest.items() if self._is_over(name, report)]:
            del self._newest[name]

    def _is_over(self, name: Name, report: _Report) -> bool:
        return self._cache.uid(report.resource, *name) != report.uid
