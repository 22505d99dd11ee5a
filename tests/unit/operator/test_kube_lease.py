"""The lease: never two holders, however slow, deaf or stopped one of them is; in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_operator.kube.api.errors import AlreadyExists, Call, Conflict, NotFound, Unavailable
from plumbline_operator.kube.api.resources import Resource
from plumbline_operator.kube.lease import Election, LeaseLost, LeaseTimes
from tests.support.virtual_time import run_virtually

CALL = Call("update", "leases.coordination.k8s.io")
TIMES = LeaseTimes(duration=15, deadline=10, period=2)


@dataclass
class Leases:
    """The API server's side: one lease, versions, and whatever the network does to each replica."""

    lease: dict[str, Any] | None = None
    version: int = 0
    writes: int = 0

    def read(self) -> dict[str, Any]:
        if self.lease is None:
            raise NotFound(CALL, "not found", code=404)
        return self.lease

    def write(self, body: Mapping[str, Any], *, new: bool) -> dict[str, Any]:
        known = None if self.lease is None else self.lease["metadata"]["resourceVersion"]
        if new and self.lease is not None:
            raise AlreadyExists(CALL, "exists", code=409)
        if not new and body["metadata"]["resourceVersion"] != known:
            raise Conflict(CALL, "changed", code=409)
        self.version += 1
        self.writes += 1
        self.lease = {"metadata": {"resourceVersion": str(self.version)}, "spec": dict(body["spec"])}
        return self.lease

    @property
    def holder(self) -> str:
        return "" if self.lease is None else str(self.lease["spec"]["holderIdentity"])


@dataclass
class Line:
    """One replica's way to the API server."""

    leases: Leases
    delay: float = 0.01
    cut: bool = False
    loses_answers: bool = False

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Mapping[str, Any]:
        return await self._carry(self.leases.read)

    async def create(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._carry(lambda: self.leases.write(body, new=True))

    async def replace(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        return await self._carry(lambda: self.leases.write(body, new=False))

    async def _carry(self, do: Callable[[], dict[str, Any]]) -> Mapping[str, Any]:
        await asyncio.sleep(self.delay)
        if self.cut:
            raise Unavailable(CALL, "no answer")
        answer = do()
        await asyncio.sleep(self.delay)
        if self.loses_answers:
            raise Unavailable(CALL, "no answer")
        return answer


@dataclass
class Replica:
    name: str
    leases: Leases
    seed: int = 1
    line: Line = field(init=False)
    election: Election = field(init=False)
    task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.line = Line(self.leases)
        self.election = Election(
            self.line,
            "ns",
            "lease",
            self.name,
            random=Random(self.seed),
            clock=asyncio.get_running_loop().time,
            times=TIMES,
        )
        self.task = asyncio.create_task(self.election.run())

    def leads(self) -> bool:
        return self.election.leading

    async def crash(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def virtually(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtually(test())


def test_the_first_takes_the_lease_and_keeps_it_while_the_second_waits() -> None:
    async def test() -> None:
        leases = Leases()
        one, two = Replica("one", leases), Replica("two", leases, seed=2)
        await asyncio.sleep(100)
        assert one.leads() is not two.leads()
        assert one.election.tried.is_set()
        assert two.election.tried.is_set()
        assert leases.lease is not None
        assert leases.lease["spec"]["leaseTransitions"] == 1
        assert 100 / 2.5 <= leases.writes <= 100 / 1.5
        for replica in (one, two):
            await replica.crash()

    virtually(test)


def test_a_crashed_holder_is_followed_after_the_duration_and_not_before() -> None:
    async def test() -> None:
        leases = Leases()
        one = Replica("one", leases)
        await one.election.won.wait()
        two = Replica("two", leases, seed=2)
        await asyncio.sleep(10)
        await one.crash()
        await asyncio.sleep(12)
        assert not two.leads()
        await asyncio.sleep(8)
        assert two.leads()
        await two.crash()

    virtually(test)


def test_a_released_lease_is_taken_at_once() -> None:
    async def test() -> None:
        leases = Leases()
        one = Replica("one", leases)
        await one.election.won.wait()
        two = Replica("two", leases, seed=2)
        await asyncio.sleep(5)
        await one.crash()
        await one.election.release()
        await asyncio.sleep(3)
        assert two.leads()
        await two.crash()

    virtually(test)


def test_whoever_cannot_renew_stops_before_anybody_else_may_begin() -> None:
    async def test() -> None:
        leases = Leases()
        loop = asyncio.get_running_loop()
        one = Replica("one", leases)
        await one.election.won.wait()
        two = Replica("two", leases, seed=2)
        await asyncio.sleep(5)
        one.line.cut = True
        with pytest.raises(LeaseLost):
            await one.task
        stopped = loop.time()
        assert not one.leads()
        await two.election.won.wait()
        assert loop.time() > stopped
        await two.crash()

    virtually(test)


def test_a_holder_that_was_stopped_for_long_may_write_nothing_when_it_goes_on() -> None:
    async def test() -> None:
        leases = Leases()
        one = Replica("one", leases)
        await one.election.won.wait()
        one.election.check()
        one.line.delay = 30
        await asyncio.sleep(11)
        with pytest.raises(LeaseLost):
            one.election.check()
        with pytest.raises(LeaseLost):
            await one.task

    virtually(test)


def test_a_renewal_whose_answer_was_lost_is_no_loss() -> None:
    async def test() -> None:
        leases = Leases()
        one = Replica("one", leases)
        await one.election.won.wait()
        one.line.loses_answers = True
        await asyncio.sleep(3)
        one.line.loses_answers = False
        await asyncio.sleep(20)
        assert one.leads()
        await one.crash()

    virtually(test)


def test_whoever_finds_another_holder_stops_at_once() -> None:
    async def test() -> None:
        leases = Leases()
        one = Replica("one", leases)
        await one.election.won.wait()
        assert leases.lease is not None
        leases.write({"metadata": leases.lease["metadata"], "spec": {"holderIdentity": "thief"}}, new=False)
        with pytest.raises(LeaseLost, match="thief"):
            await one.task

    virtually(test)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1), st.sampled_from(["cut", "mend", "slow", "quick", "deaf", "hear"]), st.floats(0, 12)
        ),
        max_size=25,
    )
)
def test_there_are_never_two_who_may_write(steps: list[tuple[int, str, float]]) -> None:
    async def test() -> None:
        leases = Leases()
        replicas = [Replica("one", leases, 1), Replica("two", leases, 2)]

        async def look() -> None:
            while True:
                assert sum(replica.election.leading for replica in replicas) <= 1
                await asyncio.sleep(0.1)

        looking = asyncio.create_task(look())
        for which, what, wait in steps:
            line = replicas[which].line
            line.cut = {"cut": True, "mend": False}.get(what, line.cut)
            line.delay = {"slow": 4.0, "quick": 0.01}.get(what, line.delay)
            line.loses_answers = {"deaf": True, "hear": False}.get(what, line.loses_answers)
            await asyncio.sleep(wait)
            for index, replica in enumerate(replicas):
                if replica.task.done():
                    assert isinstance(replica.task.exception(), LeaseLost)
                    fresh = Replica(f"{replica.name}'", leases, index + 7)
                    fresh.line.cut, fresh.line.delay = replica.line.cut, replica.line.delay
                    replicas[index] = fresh
        assert not looking.done(), looking.exception()
        looking.cancel()
        for replica in replicas:
            await replica.crash()

    virtually(test)
