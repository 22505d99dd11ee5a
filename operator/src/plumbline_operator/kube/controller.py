"""The loop of the operator: a key from the queue, observe, decide, execute; many keys at a time, each one at a time.

Driven by `assembly`. Whatever a turn of work ends with, the key is looked at again when something happens to it, after
a delay that grows with its failures, at the moment the decision named, and once in a while in any case.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Final, Protocol

from plumbline_api.alignment import AlignmentRunStatus
from plumbline_api.gate import EvalGateStatus
from plumbline_api.reasons import Reason
from plumbline_operator.cluster import Cluster
from plumbline_operator.decide import decide
from plumbline_operator.decision import Decision, Event, EventType
from plumbline_operator.execute import execute
from plumbline_operator.kube.api.errors import ApiError, Conflict, Forbidden
from plumbline_operator.kube.api.resources import OURS
from plumbline_operator.kube.cluster import ObjectGone
from plumbline_operator.kube.hindrances import explain_failure, hindered
from plumbline_operator.kube.lease import LeaseLost
from plumbline_operator.kube.metrics import Metrics
from plumbline_operator.kube.queue import WorkQueue
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.kube.seen.documents import StatusUnreadable, parse_status
from plumbline_operator.observed import Key, Observed, PlumblineStatus, Problem

__all__ = ["Controller", "Port"]

_LOG: Final = logging.getLogger(__name__)
_PROGRESS_PERIOD: Final = 15.0
"""Seconds between two writes of a status in which nothing but progress has changed."""
_HINDERED_PERIOD: Final = 5.0
"""Seconds at least before trying again what only a person can put right."""


class Port(Cluster, Protocol):
    """The Cluster port, told when a turn of work is over."""

    def forget(self, key: Key) -> None:
        """Let go of what was seen for the turn."""


class Controller:
    """Works on the keys of a queue."""

    def __init__(
        self,
        cluster: Port,
        cache: Cache,
        queue: WorkQueue[Key],
        metrics: Metrics,
        *,
        now: Callable[[], datetime],
        random: Random,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._queue = queue
        self._metrics = metrics
        self._now = now
        self._random = random
        self._time = asyncio.get_running_loop().time
        self._progress_written: dict[Key, float] = {}
        self._busy: set[asyncio.Task[None]] = set()
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = False

    # Workers

    def start(self, workers: int) -> tuple[asyncio.Task[None], ...]:
        """Begin to work; the tasks end only when they are stopped, or with LeaseLost."""
        self._workers = [asyncio.create_task(self._work(), name=f"worker {number}") for number in range(workers)]
        return tuple(self._workers)

    async def stop(self, seconds: float) -> None:
        """Let the turns that have begun come to their end, but not longer; begin no other."""
        self._stopping = True
        for worker in self._workers:
            if worker not in self._busy:
                worker.cancel()
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=seconds)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)

    async def resync(self, period: float) -> None:
        """Look at every object once in each period, spread over it, for ever."""
        while True:
            keys = list(self._cache.keys())
            self._random.shuffle(keys)
            pause = period / (len(keys) + 1)
            for key in keys:
                await asyncio.sleep(pause)
                self._queue.add(key)
            await asyncio.sleep(pause)

    async def _work(self) -> None:
        task = asyncio.current_task()
        while not self._stopping and task is not None:
            key = await self._queue.get()
            self._busy.add(task)
            try:
                await self.turn(key)
            finally:
                self._busy.discard(task)
                self._queue.done(key)

    # One turn

    async def turn(self, key: Key) -> str:
        """One turn of work on an object; gives the word for its result that metrics have.

        Raises:
            LeaseLost: Another replica may be at work.
        """
        begun = self._time()
        try:
            result = await self._reconcile(key)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - one object's failure must not end the work on all others
            result = await self._fail(key, error)
        finally:
            self._cluster.forget(key)
        self._metrics.reconciled(key.kind, result, self._time() - begun)
        return result

    async def _reconcile(self, key: Key) -> str:
        sight = await self._cluster.observe(key)
        if sight is None:
            self._forget(key)
            return "gone"
        thing, observed = sight
        decision = self._pace(key, observed, decide(thing, observed, self._now()))
        await execute(key, observed, decision, self._cluster)
        self._queue.succeeded(key)
        if decision.wake_after is not None:
            self._queue.add_after(key, decision.wake_after)
        changed = decision.status != observed.status
        if changed:
            self._count_verdict(observed.status, decision.status)
        return "changed" if changed or decision.apply or decision.delete else "unchanged"

    def _pace(self, key: Key, observed: Observed, decision: Decision) -> Decision:
        """The Decision, less a status that tells of nothing but progress and comes too soon after the last."""
        if decision.status == observed.status or _settled(decision.status) != _settled(observed.status):
            return decision
        left = self._progress_written.get(key, float("-inf")) + _PROGRESS_PERIOD - self._time()
        if left <= 0:
            self._progress_written[key] = self._time()
            return decision
        wake_after = left if decision.wake_after is None else min(left, decision.wake_after)
        return replace(decision, status=observed.status, wake_after=wake_after)

    def _count_verdict(self, before: PlumblineStatus, after: PlumblineStatus) -> None:
        if isinstance(before, EvalGateStatus) and isinstance(after, EvalGateStatus):
            if after.verdict is not None and after.verdict != before.verdict:
                self._metrics.verdict(after.verdict.value)

    def _forget(self, key: Key) -> None:
        self._queue.forget(key)
        self._progress_written.pop(key, None)

    # Failures

    async def _fail(self, key: Key, error: Exception) -> str:
        """Say what went wrong, to whom it concerns, and see to it that it is tried again."""
        failures = self._queue.failures(key) + 1
        if isinstance(error, ObjectGone) or (isinstance(error, Forbidden) and error.ending):
            # The deletion itself is an event that wakes the key.
            return "gone"
        if isinstance(error, Conflict):
            self._queue.retry(key)
            return "conflict"
        if isinstance(error, StatusUnreadable):
            words = f"the status was written by a newer operator, so nothing is done ({error}); update this one"
            await self._cluster.emit(key, Event(EventType.WARNING, Reason.UNSUPPORTED_BY_RUNTIME, words))
            self._queue.retry(key, at_least=60.0)
            return "unreadable"
        problem = explain_failure(error, failures)
        _log_failure(key, error, failures)
        if problem is not None:
            await self._tell(key, problem)
            self._queue.retry(key, at_least=_HINDERED_PERIOD)
            return "hindered"
        self._queue.retry(key, at_least=getattr(error, "retry_after", None) or 0.0)
        return "unavailable" if isinstance(error, ApiError) else "failed"

    async def _tell(self, key: Key, problem: Problem) -> None:
        """Write the problem into the object's status, if that is possible."""
        raw = self._cache.get(OURS[key.kind], key.namespace, key.name)
        if raw is None:
            return
        try:
            before = parse_status(key.kind, raw)
            after = hindered(before, problem, int(raw["metadata"].get("generation", 1)), self._now())
            if after is not None and after != before:
                # Told as an event too, and first: what is not permitted may be to write the status.
                await self._cluster.emit(key, Event(EventType.WARNING, problem.reason, problem.message))
                await self._cluster.write_status(key, after)
        except (ApiError, ObjectGone, StatusUnreadable) as error:
            _LOG.warning("problem not told", extra={"object": str(key), "error": type(error).__name__})


def _settled(status: PlumblineStatus) -> PlumblineStatus:
    """A status without its progress."""
    if isinstance(status, AlignmentRunStatus):
        stages = tuple(row.model_copy(update={"progress": None}) for row in status.stages)
        return status.model_copy(update={"stages": stages})
    if isinstance(status, EvalGateStatus):
        return status.model_copy(update={"progress": None})
    return status


def _log_failure(key: Key, error: Exception, failures: int) -> None:
    facts = {"object": str(key), "error": type(error).__name__, "failures": failures}
    if isinstance(error, ApiError):
        call = error.call
        facts |= {"call": str(call), "code": error.code, "cause": error.cause, "fields": ", ".join(error.fields)}
        _LOG.warning("a call failed", extra=facts)
    elif type(error).__module__.startswith("plumbline_operator.kube."):
        _LOG.warning("hindered", extra=facts)
    else:
        _LOG.error("a turn failed", extra=facts, exc_info=error)
