"""A watch: a list and what follows it without a gap, whatever the server does to the stream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from plumbline_api.names import Kind
from plumbline_operator.kube.api.resources import JOBS, OURS, Resource, Watched
from plumbline_operator.kube.queue import WorkQueue
from plumbline_operator.kube.seen.cache import Cache, Name
from plumbline_operator.kube.seen.census import Census, Standing
from plumbline_operator.kube.seen.feed import Feed
from plumbline_operator.kube.seen.mentions import ConfigMapName, Mentions
from plumbline_operator.kube.seen.watch import Watch
from plumbline_operator.observed import Key
from tests.support.scripted_api import ScriptedApi, answer, events, failure, scripted_api

RUNS = OURS[Kind.ALIGNMENT_RUN]
RUN, GATE = Key(Kind.ALIGNMENT_RUN, "ns", "base"), Key(Kind.EVAL_GATE, "ns", "gate")
Raw = Mapping[str, Any]


def raw(name: str, version: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"u-{name}", "resourceVersion": str(version)}, **more}


def listed(version: int, *items: Raw, more: str = "") -> Callable[..., Awaitable[Any]]:
    return answer({"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)})


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": raw(name, version)}


@dataclass
class Heard:
    """Everything that a watch says."""

    words: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, resource: Resource, raw: Raw) -> None:
        self._say(f"put {raw['metadata']['name']} {raw['metadata']['resourceVersion']}")

    def remove(self, resource: Resource, raw: Raw) -> None:
        self._say(f"remove {raw['metadata']['name']}")

    def retain(self, resource: Resource, namespace: str | None, listed: Iterable[Name], version: str) -> None:
        self._say(f"retain {sorted(name for _, name in listed)} {version}")

    def _say(self, word: str) -> None:
        self.words.append(word)
        self.changed.set()

    async def until(self, count: int) -> list[str]:
        """The first words, once there are so many."""
        async with asyncio.timeout(10):
            while len(self.words) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.words[:count]


@asynccontextmanager
async def watching(api: ScriptedApi, *, relist: float = 600.0) -> AsyncIterator[tuple[Watch, Heard]]:
    async with api.client() as client:
        heard = Heard()
        watch = Watch(client, Watched(JOBS), "ns", heard, Random(1), relist=relist)
        task = asyncio.create_task(watch.run())
        try:
            yield watch, heard
        finally:
            assert not task.done(), task.exception()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def watched_from(api: ScriptedApi) -> list[str]:
    """The versions that streams were asked for, in order; an empty one for a list."""
    return [dict(one.query).get("resourceVersion", "") for one in api.asked]


async def test_changes_follow_the_list_from_its_version() -> None:
    async with scripted_api() as api, watching(api) as (watch, heard):
        api.say(
            listed(5, raw("a", 3), more="next"),
            listed(5, raw("b", 4)),
            events(event("MODIFIED", "a", 6), event("DELETED", "b", 7), event("ADDED", "c", 8), then="silence"),
        )
        assert await heard.until(6) == [
            "put a 3",
            "put b 4",
            "retain ['a', 'b'] 5",
            "put a 6",
            "remove b",
            "put c 8",
        ]
        assert watch.synced.is_set()
        assert watch.age < 5
        assert watched_from(api) == ["", "", "5"]


async def test_a_stream_that_ends_goes_on_where_it_ended() -> None:
    async with scripted_api() as api, watching(api) as (_, heard):
        bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "20"}}}
        api.say(listed(5), events(event("ADDED", "a", 6), bookmark), events(event("ADDED", "b", 21), then="silence"))
        assert (await heard.until(3))[1:] == ["put a 6", "put b 21"]
        assert watched_from(api) == ["", "5", "20"]


async def test_a_broken_stream_goes_on_where_it_broke() -> None:
    async with scripted_api() as api, watching(api) as (_, heard):
        api.say(
            listed(5),
            events(event("ADDED", "a", 6), then="break", delay=0.1),
            answer(code=0),
            failure(503),
            events(event("ADDED", "b", 7), then="silence"),
        )
        assert (await heard.until(3))[1:] == ["put a 6", "put b 7"]
        assert watched_from(api) == ["", "5", "6", "6", "6"]


async def test_what_vanished_in_a_gap_is_noticed() -> None:
    async with scripted_api() as api, watching(api) as (_, heard):
        gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
        api.say(
            listed(5, raw("a", 3), raw("b", 4)),
            events(event("MODIFIED", "a", 6), gone),
            listed(30, raw("a", 6)),
            events(then="silence"),
        )
        assert (await heard.until(6))[4:] == ["put a 6", "retain ['a'] 30"]


async def test_a_version_that_is_refused_at_once_is_listed_anew() -> None:
    async with scripted_api() as api, watching(api) as (_, heard):
        api.say(listed(5), failure(410, "Expired"), listed(9), events(then="silence"))
        assert await heard.until(2) == ["retain [] 5", "retain [] 9"]


async def test_a_list_that_expires_between_pages_is_begun_anew() -> None:
    async with scripted_api() as api, watching(api) as (_, heard):
        api.say(
            listed(5, raw("a", 3), more="next"), failure(410, "Expired"), listed(9, raw("a", 3)), events(then="silence")
        )
        assert await heard.until(3) == ["put a 3", "put a 3", "retain ['a'] 9"]


async def test_a_server_that_fails_is_asked_less_and_less_often() -> None:
    async with scripted_api() as api, watching(api) as (watch, heard):
        api.say(failure(500))
        await asyncio.sleep(1.5)
        assert 2 <= len(api.asked) <= 8
        assert not watch.synced.is_set()
        assert watch.idle < 5
        api.say(listed(5), events(then="silence"))
        api.script.popleft()
        assert await heard.until(1) == ["retain [] 5"]


async def test_a_stream_that_breaks_again_and_again_is_not_waited_for_ever_longer() -> None:
    async with scripted_api() as api, watching(api) as (_, heard):
        broken = [events(event("ADDED", f"job-{number}", 6 + number), then="break", delay=0.1) for number in range(6)]
        api.say(listed(5), *broken, events(then="silence"))
        begun = asyncio.get_running_loop().time()
        await heard.until(7)
        assert asyncio.get_running_loop().time() - begun < 4


async def test_garbage_in_a_stream_is_a_broken_stream() -> None:
    async with scripted_api() as api, watching(api) as (_, heard):
        api.say(listed(5), events(b'{"type": "ADD\n'), events(event("ADDED", "a", 6), then="silence"))
        assert (await heard.until(2))[1] == "put a 6"
        assert watched_from(api) == ["", "5", "5"]


async def test_the_whole_list_is_compared_once_in_a_while() -> None:
    async with scripted_api() as api, watching(api, relist=0.3) as (_, heard):
        api.say(
            listed(5, raw("ghost", 4)), events(delay=0.2), events(delay=0.2), events(event("ADDED", "a", 6), delay=0.4)
        )
        api.say(listed(9, raw("a", 6)), events(then="silence"))
        words = await heard.until(5)
        assert words[-2:] == ["put a 6", "retain ['a'] 9"]


# Where it goes


@dataclass
class Fed:
    cache: Cache = field(default_factory=Cache)
    mentions: Mentions = field(default_factory=Mentions)
    census: Census = field(default_factory=Census)

    def __post_init__(self) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(Random(1))
        self.feed = Feed(self.cache, self.mentions, self.census, self.queue)

    async def woken(self) -> set[Key]:
        found = set()
        while self.queue.depth:
            key = await self.queue.get()
            self.queue.done(key)
            found.add(key)
        return found


async def test_a_change_wakes_the_object_and_all_that_name_it() -> None:
    fed = Fed()
    fed.mentions.record(GATE, [RUN, ConfigMapName("ns", "inputs")])
    fed.feed.put(RUNS, raw("base", 1))
    assert await fed.woken() == {RUN, GATE}
    fed.feed.put(RUNS, raw("base", 1))
    assert await fed.woken() == set()
    fed.feed.put(RUNS, raw("base", 2, status={"phase": "Running"}), by=RUN)
    assert await fed.woken() == {GATE}, "whoever wrote it knows it, whoever names it does not"
    fed.feed.remove(RUNS, raw("base", 3))
    assert await fed.woken() == {RUN, GATE}
    fed.mentions.record(GATE, [])
    fed.feed.put(RUNS, raw("base", 4) | {"metadata": raw("base", 4)["metadata"] | {"uid": "u2"}})
    assert await fed.woken() == {RUN}


async def test_a_watch_that_is_faster_than_the_answer_to_a_write_is_no_news_to_the_writer() -> None:
    fed = Fed()
    fed.mentions.record(GATE, [RUN])
    with fed.feed.writing(RUNS, ("ns", "base"), RUN):
        fed.feed.put(RUNS, raw("base", 5, status={"phase": "Running"}))
        assert await fed.woken() == {GATE}, "others hear of it at once"
        fed.feed.put(RUNS, raw("base", 5, status={"phase": "Running"}), by=RUN)
    assert await fed.woken() == set()
    fed.feed.put(RUNS, raw("base", 6, status={"phase": "Failed"}))
    assert await fed.woken() == {RUN, GATE}, "the write is over"


async def test_what_others_do_to_an_object_while_it_is_written_wakes_the_writer() -> None:
    fed = Fed()
    with fed.feed.writing(RUNS, ("ns", "base"), RUN):
        fed.feed.put(RUNS, raw("base", 5, status={"phase": "Running"}))
        fed.feed.put(RUNS, raw("base", 6, spec={"suspend": True}))
        fed.feed.put(RUNS, raw("base", 5, status={"phase": "Running"}), by=RUN)
    assert await fed.woken() == {RUN}
    with suppress(OSError), fed.feed.writing(RUNS, ("ns", "base"), RUN):
        fed.feed.put(RUNS, raw("base", 7, status={"phase": "Failed"}))
        raise OSError("the answer is lost")
    assert await fed.woken() == {RUN}, "whether it was our own write, nobody knows"


async def test_objects_are_counted_by_what_they_are_doing() -> None:
    fed = Fed()
    spec = {"stages": [{"name": "a", "sft": {}}, {"name": "b", "dpo": {}}]}
    fed.feed.put(RUNS, raw("base", 1, spec=spec))
    fed.feed.put(RUNS, raw("other", 2, spec=spec, status={"phase": "Running"}))
    fed.feed.put(OURS[Kind.EVAL_GATE], raw("gate", 3, status={"phase": "Passed", "verdict": "Passed"}))
    pending = Standing(Kind.ALIGNMENT_RUN, "Pending", "dpo", "")
    running = Standing(Kind.ALIGNMENT_RUN, "Running", "dpo", "")
    passed = Standing(Kind.EVAL_GATE, "Passed", "", "Passed")
    assert dict(fed.census.counts) == {pending: 1, running: 1, passed: 1}
    fed.feed.put(RUNS, raw("base", 4, spec=spec, status={"phase": "Running"}))
    fed.feed.bury(OURS[Kind.EVAL_GATE], "ns", "gate", "u-gate")
    assert dict(fed.census.counts) == {running: 2}
    fed.feed.retain(RUNS, None, [], "9")
    assert dict(fed.census.counts) == {}


def test_mentions_are_found_from_either_end() -> None:
    mentions = Mentions()
    inputs = ConfigMapName("ns", "inputs")
    mentions.record(GATE, [RUN, inputs])
    mentions.record(RUN, [inputs])
    assert mentions.namers(inputs) == (RUN, GATE)
    assert mentions.config_maps() == (inputs,)
    mentions.record(GATE, [RUN])
    mentions.record(RUN, [])
    assert mentions.namers(inputs) == ()
    assert mentions.namers(RUN) == (GATE,)
    assert mentions.config_maps() == ()
