"""The loop: how often a status is written, what is tried again and when, how it stops; in virtual time."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from plumbline_api.alignment import AlignmentRunStatus
from plumbline_api.names import Kind
from plumbline_api.progress import Metric, Progress
from plumbline_api.reasons import Reason
from plumbline_operator.cluster import Sight
from plumbline_operator.decision import Child
from plumbline_operator.kube.api.errors import Call, Conflict, Forbidden, TooManyRequests, Unavailable
from plumbline_operator.kube.api.resources import OURS
from plumbline_operator.kube.cluster import ObjectGone
from plumbline_operator.kube.controller import Controller
from plumbline_operator.kube.lease import LeaseLost
from plumbline_operator.kube.metrics import Metrics
from plumbline_operator.kube.queue import WorkQueue
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.kube.seen.documents import StatusUnreadable
from plumbline_operator.observed import Key, PlumblineStatus
from tests.support import build
from tests.support.virtual_time import run_virtually
from tests.support.world import World, key_of

RUN = key_of(build.run())
CREATE = Call("create", "jobs.batch", "default", "base-s0")
ROLE = 'jobs.batch is forbidden: User "x" cannot create resource "jobs" in API group "batch"'


@dataclass
class Port(World):
    """A world in memory that fails when it is told to."""

    failures: list[Exception] = field(default_factory=list)
    """What the next calls of `apply` end with."""
    unreadable: Exception | None = None
    """What `observe` ends with."""
    slow: float = 0.0
    turns: int = 0
    written: list[PlumblineStatus] = field(default_factory=list)

    async def observe(self, key: Key) -> Sight | None:
        self.turns += 1
        await asyncio.sleep(self.slow)
        if self.unreadable is not None:
            raise self.unreadable
        return await super().observe(key)

    async def apply(self, owner: Key, child: Child) -> None:
        if self.failures:
            raise self.failures.pop(0)
        await super().apply(owner, child)

    async def write_status(self, key: Key, status: PlumblineStatus) -> None:
        self.written.append(status)
        await super().write_status(key, status)

    def forget(self, key: Key) -> None:
        """Nothing was kept."""

    def advance(self, percent: int) -> None:
        """Let every Job report progress."""
        moment = build.later(percent)
        report = Progress(
            progress_percentage=percent, metrics=(Metric(name="step", value=str(percent)),), last_updated_time=moment
        )
        for name, (owner, job) in self.jobs.items():
            self.jobs[name] = (owner, replace(job, progress=report))


@dataclass
class Desk:
    """A controller with its port, queue and cache."""

    port: Port
    queue: WorkQueue[Key]
    cache: Cache
    controller: Controller
    metrics: Metrics

    async def turn(self) -> str:
        """One turn on the run."""
        return await self.controller.turn(RUN)

    def results(self, word: str) -> float:
        """How many turns ended so."""
        labels = {"kind": "AlignmentRun", "result": word}
        return self.metrics.registry.get_sample_value("plumbline_reconcile_seconds_count", labels) or 0.0


def desk(*failures: Exception, slow: float = 0.0) -> Desk:
    port = Port(failures=list(failures), slow=slow)
    port.add(build.run())
    queue: WorkQueue[Key] = WorkQueue(Random(1))
    cache, metrics = Cache(), Metrics()
    metadata = {"name": "base", "namespace": "default", "uid": "u1", "resourceVersion": "1", "generation": 1}
    cache.put(OURS[Kind.ALIGNMENT_RUN], {**build.run().dump(), "metadata": metadata})
    controller = Controller(port, cache, queue, metrics, now=lambda: datetime.now(UTC), random=Random(1))
    return Desk(port, queue, cache, controller, metrics)


def virtually(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtually(test())


def test_a_turn_does_what_was_decided_and_the_next_does_nothing() -> None:
    async def test() -> None:
        at = desk()
        assert await at.turn() == "changed"
        assert len(at.port.jobs) == 1
        assert await at.turn() == "unchanged"
        assert (at.results("changed"), at.results("unchanged")) == (1, 1)
        at.port.objects.clear()
        assert await at.turn() == "gone"

    virtually(test)


def test_progress_alone_is_written_every_15_seconds_and_a_change_at_once() -> None:
    async def test() -> None:
        at = desk()
        await at.turn()
        (name,) = at.port.jobs
        at.port.start(name)
        await at.turn()
        before = len(at.port.written)
        for percent in range(40):
            at.port.advance(percent)
            await at.turn()
            await asyncio.sleep(1)
        assert 2 <= len(at.port.written) - before <= 3
        assert at.queue.delayed == 1, "the newest progress is not forgotten"
        at.port.finish(name, build.training_summary("made"))
        assert await at.turn() == "changed"
        status = at.port.written[-1]
        assert isinstance(status, AlignmentRunStatus)
        assert status.output == build.training_summary("made").output.digest  # type: ignore[union-attr]

    virtually(test)


@pytest.mark.parametrize(
    ("failure", "result", "at_least", "at_most"),
    [
        (Conflict(CREATE, "changed", code=409), "conflict", 0.0, 0.2),
        (Unavailable(CREATE, "no answer"), "unavailable", 0.0, 0.2),
        (TooManyRequests(CREATE, "busy", code=429, retry_after=7.0), "unavailable", 7.0, 7.1),
        (Forbidden(CREATE, ROLE, code=403), "hindered", 5.0, 5.1),
        (RuntimeError("a defect"), "failed", 0.0, 0.2),
    ],
)
def test_what_failed_is_tried_again(failure: Exception, result: str, at_least: float, at_most: float) -> None:
    async def test() -> None:
        at = desk(failure)
        loop = asyncio.get_running_loop()
        assert await at.turn() == result
        begun = loop.time()
        assert await at.queue.get() == RUN
        assert at_least <= loop.time() - begun <= at_most
        assert await at.turn() == "changed"
        assert at.queue.failures(RUN) == 0
        assert len(at.port.jobs) == 1

    virtually(test)


@pytest.mark.parametrize("failure", [ObjectGone(str(RUN)), Forbidden(CREATE, "x", cause="NamespaceTerminating")])
def test_what_is_ending_is_not_tried_again(failure: Exception) -> None:
    async def test() -> None:
        at = desk(failure)
        assert await at.turn() == "gone"
        assert (at.queue.depth, at.queue.delayed) == (0, 0)

    virtually(test)


def test_what_a_person_must_put_right_is_in_the_status_until_it_is() -> None:
    async def test() -> None:
        at = desk(Forbidden(CREATE, ROLE, code=403), Forbidden(CREATE, ROLE, code=403))
        await at.turn()
        status = at.port.run_status("base")
        assert status.phase == "Stalled"
        assert any("may not create jobs" in condition.message for condition in status.conditions)
        assert [event.reason for _, event in at.port.events] == [Reason.NOT_PERMITTED]
        raw = at.cache.get(OURS[Kind.ALIGNMENT_RUN], "default", "base")
        assert raw is not None
        at.cache.put(
            OURS[Kind.ALIGNMENT_RUN],
            {**raw, "status": status.dump(), "metadata": {**raw["metadata"], "resourceVersion": "2"}},
        )
        writes = len(at.port.written)
        await at.turn()
        assert len(at.port.written) == writes, "said once is enough"
        await at.turn()
        assert at.port.run_status("base").phase == "Pending"

    virtually(test)


def test_a_status_of_a_newer_operator_is_left_alone_and_told_as_an_event() -> None:
    async def test() -> None:
        at = desk()
        at.port.unreadable = StatusUnreadable("phase: unknown")
        assert await at.turn() == "unreadable"
        assert at.port.written == []
        assert [event.reason for _, event in at.port.events] == [Reason.UNSUPPORTED_BY_RUNTIME]

    virtually(test)


def test_a_lost_lease_ends_the_work() -> None:
    async def test() -> None:
        at = desk(LeaseLost("stolen"))
        at.queue.add(RUN)
        (worker,) = at.controller.start(1)
        with pytest.raises(LeaseLost):
            await worker

    virtually(test)


def test_a_defect_on_one_object_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        at = desk(RuntimeError("a harmful prompt"))
        at.port.add(build.run("other"))
        for name in ("base", "other"):
            at.queue.add(Key(Kind.ALIGNMENT_RUN, "default", name))
        workers = at.controller.start(1)
        await asyncio.sleep(5)
        assert not any(worker.done() for worker in workers)
        assert len(at.port.jobs) == 2
        await at.controller.stop(1)

    with caplog.at_level(logging.ERROR):
        virtually(test)
    (record,) = caplog.records
    assert record.getMessage() == "a turn failed"


def test_a_stop_lets_begun_turns_end_and_begins_no_other() -> None:
    async def test() -> None:
        at = desk(slow=1.0)
        at.port.add(build.run("other"))
        at.queue.add(RUN)
        workers = at.controller.start(1)
        await asyncio.sleep(0.5)
        at.queue.add(Key(Kind.ALIGNMENT_RUN, "default", "other"))
        await at.controller.stop(2.5)
        assert all(worker.done() for worker in workers)
        assert at.port.turns == 1
        assert len(at.port.jobs) == 1

    virtually(test)


def test_a_stop_does_not_wait_longer_than_it_may() -> None:
    async def test() -> None:
        at = desk(slow=60.0)
        at.queue.add(RUN)
        at.controller.start(2)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.5)
        begun = loop.time()
        await at.controller.stop(2.5)
        assert loop.time() - begun == 2.5

    virtually(test)


def test_every_object_is_looked_at_once_in_a_period_and_not_all_at_once() -> None:
    async def test() -> None:
        at = desk()
        runs = OURS[Kind.ALIGNMENT_RUN]
        for number in range(99):
            metadata = {"name": f"r{number}", "namespace": "ns", "uid": f"x{number}", "resourceVersion": "1"}
            at.cache.put(runs, {"metadata": metadata})
        task = asyncio.create_task(at.controller.resync(600))
        await asyncio.sleep(300)
        assert 45 <= at.queue.depth <= 55
        await asyncio.sleep(300)
        assert at.queue.depth >= 99
        task.cancel()

    virtually(test)
