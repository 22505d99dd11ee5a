"""The loop of local mode: observe, decide, execute, for every object in scope, until nothing more happens by itself.

Driven by `session`. Woken by the end of a child process; between two wake-ups a slow poll picks up progress.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from plumbline_operator.decide import decide
from plumbline_operator.execute import execute
from plumbline_operator.local.cluster import LocalCluster
from plumbline_operator.observed import JobState, Key, PlumblineObject, PlumblineStatus
from plumbline_operator.status.conditions import is_settled

__all__ = ["Controller", "Snapshot", "View"]


@dataclass(frozen=True)
class View:
    """One object as it is now, for a display."""

    thing: PlumblineObject
    status: PlumblineStatus
    jobs: tuple[JobState, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """All objects in scope as they are now."""

    views: Mapping[Key, View] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to any of them by itself."""
        return all(is_settled(view.status.conditions) for view in self.views.values())


class Controller:
    """Reconciles the objects in scope."""

    def __init__(self, cluster: LocalCluster, changed: asyncio.Event, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._changed = changed
        self._clock = clock
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End `settle` and `keep` at their next step."""
        self._stopping.set()
        self._changed.set()

    async def settle(self, scope: frozenset[Key], on_change: Callable[[Snapshot], None], *, poll: float) -> Snapshot:
        """Reconcile until every object is settled, or nothing is left that could change one."""
        await self._resume(scope)
        while True:
            changed = await self._reconcile_all(scope, on_change)
            snapshot = self._snapshot(scope)
            if self._stopping.is_set() or not (changed or self._may_change(snapshot)):
                return snapshot
            await self._wait(poll)

    async def keep(self, scope: frozenset[Key], on_change: Callable[[Snapshot], None], *, poll: float) -> None:
        """Reconcile until `stop`."""
        await self._resume(scope)
        while not self._stopping.is_set():
            await self._reconcile_all(scope, on_change)
            await self._wait(poll)

    async def _resume(self, scope: frozenset[Key]) -> None:
        await self._cluster.retire(scope)
        self._cluster.workload.resume(scope)

    async def reconcile(self, key: Key) -> bool:
        """One turn of the loop for one object; whether it changed anything."""
        sight = await self._cluster.observe(key)
        if sight is None:
            return False
        thing, observed = sight
        decision = decide(thing, observed, self._clock())
        await execute(key, observed, decision, self._cluster)
        return bool(decision.apply or decision.delete or decision.status != observed.status)

    async def _reconcile_all(self, scope: frozenset[Key], on_change: Callable[[Snapshot], None]) -> bool:
        """Go round until a whole round changed nothing, because objects wait for each other; whether one still did.

        A chain of objects is never longer than their number; what changes after so many rounds is progress.
        """
        changed = True
        for _ in range(len(scope) + 1):
            if not changed or self._stopping.is_set():
                break
            self._changed.clear()
            changed = any([await self.reconcile(key) for key in sorted(scope)])
            self._cluster.workload.raise_failure()
            on_change(self._snapshot(scope))
        return changed

    def _snapshot(self, scope: frozenset[Key]) -> Snapshot:
        records, views = self._cluster.records, {}
        for key in sorted(scope):
            thing = records.object(key)
            if thing is not None:
                jobs = [job.state() for job in self._cluster.workload.jobs if job.record.belongs_to(key)]
                views[key] = View(thing, records.status(key), tuple(jobs))
        return Snapshot(views)

    def _may_change(self, snapshot: Snapshot) -> bool:
        """Whether waiting makes sense; an object that waits for what nobody does is at rest, too."""
        workload = self._cluster.workload
        return not snapshot.settled and (self._changed.is_set() or workload.busy)

    async def _wait(self, poll: float) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), poll)
        except TimeoutError:
            return
