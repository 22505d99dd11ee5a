"""The queue: once in it, one worker at a time, delays and back-off; in virtual time."""

import asyncio
from random import Random

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from plumbline_operator.kube.queue import Backoff, WorkQueue
from tests.support.virtual_time import run_virtually


def make(backoff: Backoff | None = None) -> tuple[WorkQueue[str], list[float]]:
    waited: list[float] = []
    return WorkQueue(Random(1), backoff=backoff, waited=waited.append), waited


def test_a_key_that_is_added_often_is_handed_out_once() -> None:
    async def test() -> None:
        queue, _ = make()
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert queue.depth == 0

    run_virtually(test())


def test_what_happens_during_a_turn_is_one_more_turn() -> None:
    async def test() -> None:
        queue, _ = make()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert queue.depth == 0, "one worker at a time"
        queue.done("a")
        assert queue.depth == 1
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.depth == 0

    run_virtually(test())


def test_a_key_is_never_worked_on_by_two_workers() -> None:
    async def test() -> None:
        queue, _ = make()
        inside: set[str] = set()
        turns = 0

        async def work() -> None:
            nonlocal turns
            while True:
                key = await queue.get()
                assert key not in inside
                inside.add(key)
                await asyncio.sleep(0.1)
                inside.discard(key)
                turns += 1
                queue.done(key)

        workers = [asyncio.create_task(work()) for _ in range(4)]
        for _ in range(10):
            for key in ("a", "b", "c"):
                queue.add(key)
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        for worker in workers:
            assert not worker.done()
            worker.cancel()
        assert 3 <= turns <= 3 * 6

    run_virtually(test())


def test_how_long_a_key_waited_is_told() -> None:
    async def test() -> None:
        queue, waited = make()
        queue.add("a")
        await asyncio.sleep(2)
        queue.add("a")
        await queue.get()
        assert waited == [2.0]

    run_virtually(test())


def test_of_several_delays_the_shortest_counts() -> None:
    async def test() -> None:
        queue, _ = make()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        queue.add_after("a", 10)
        queue.add_after("a", 3)
        queue.add_after("a", 30)
        assert (queue.depth, queue.delayed) == (0, 1)
        assert await queue.get() == "a"
        assert loop.time() - begun == 3
        queue.done("a")
        await asyncio.sleep(60)
        assert queue.depth == 0, "the others are forgotten"

    run_virtually(test())


def test_failures_wait_longer_each_time_and_success_forgets_them() -> None:
    async def test() -> None:
        queue, _ = make(Backoff(first=1.0, longest=8.0, jitter=0.0))
        assert [queue.retry("a") for _ in range(5)] == [1.0, 2.0, 4.0, 8.0, 8.0]
        assert queue.retry("b", at_least=5.0) == 5.0
        assert queue.failures("a") == 5
        queue.succeeded("a")
        assert queue.retry("a") == 1.0

    run_virtually(test())


@given(st.integers(1, 10_000), st.floats(0.01, 5), st.floats(5, 600), st.floats(0, 0.9), st.integers(0, 2**32))
def test_a_back_off_stays_within_its_limits(
    failures: int, first: float, longest: float, jitter: float, seed: int
) -> None:
    backoff = Backoff(first, longest, jitter)
    delay = backoff.delay(failures, Random(seed))
    assert first * (1 - jitter) <= delay * 1.000001
    assert delay <= longest


def test_a_forgotten_key_does_not_come_back() -> None:
    async def test() -> None:
        queue, _ = make()
        queue.add("a")
        queue.add_after("b", 1)
        queue.retry("c")
        for key in ("a", "b", "c"):
            queue.forget(key)
        await asyncio.sleep(100)
        assert (queue.depth, queue.delayed, queue.failures("c")) == (0, 0, 0)

    run_virtually(test())


def test_forgetting_during_a_turn_leaves_later_events_alone() -> None:
    async def test() -> None:
        queue, _ = make()
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.forget("a")
        queue.add("a")
        queue.done("a")
        assert await queue.get() == "a"

    run_virtually(test())


def test_a_call_that_woke_a_cancelled_worker_wakes_another() -> None:
    async def test() -> None:
        queue, _ = make()
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        assert await asyncio.wait_for(second, 1) == "a"
        assert first.cancelled()

    run_virtually(test())


def test_waiting_workers_that_are_cancelled_take_no_later_call() -> None:
    async def test() -> None:
        queue, _ = make()
        gone = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        here = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        assert await asyncio.wait_for(here, 1) == "a"

    run_virtually(test())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "later", "retry", "turn"])), max_size=40))
def test_no_call_is_ever_lost(steps: list[tuple[str, str]]) -> None:
    """Whatever happens in whatever order: after the last call for a key there is one more turn of it."""

    async def test() -> None:
        queue, _ = make(Backoff(first=0.1, longest=1.0))
        called: dict[str, int] = {}
        turned: dict[str, int] = {}

        async def turn() -> None:
            key = await asyncio.wait_for(queue.get(), 100)
            begun = called[key]
            await asyncio.sleep(0.01)
            turned[key] = begun
            queue.done(key)

        for number, (key, step) in enumerate(steps):
            if step == "turn":
                if queue.depth or queue.delayed:
                    await turn()
                continue
            called[key] = number
            if step == "add":
                queue.add(key)
            elif step == "later":
                queue.add_after(key, 0.5)
            else:
                queue.retry(key)
        while queue.depth or queue.delayed:
            await turn()
        assert turned == called

    run_virtually(test())


def test_delays_of_less_than_a_millisecond_are_kept_on_the_loop_that_the_operator_runs_on() -> None:
    """Its timers are true to the millisecond, and are none at all for less than half of one."""

    async def test() -> set[str]:
        queue, _ = make()
        for delay in (0.0004, 0.0003, 0.0002):
            queue.add_after(str(delay), delay)
        return {await queue.get() for _ in range(3)}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(test()) == {"0.0004", "0.0003", "0.0002"}
