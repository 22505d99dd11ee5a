"""Whether a cluster has JobSets that can be used: asked again and again, and never required."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
import pytest
from aiohttp import web

from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.api.errors import ApiError
from plumbline_operator.kube.api.resources import JOB_SETS
from plumbline_operator.kube.discovery import JobSets
from plumbline_operator.kube.queue import WorkQueue
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.kube.seen.census import Census
from plumbline_operator.kube.seen.feed import Feed
from plumbline_operator.kube.seen.mentions import Mentions
from plumbline_operator.kube.settings import KubeSettings
from plumbline_operator.observed import Key
from tests.support import build
from tests.support.scripted_api import Asked, ScriptedApi, scripted_api

GROUP = "/apis/jobset.x-k8s.io/v1alpha2"
SCHEMAS = f"/openapi/v3{GROUP}"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
SERVED = {"resources": [{"name": "jobsets"}]}
KNOWN: dict[str, Any] = {"properties": {"onJobFailureMessagePatterns": {}}}
LISTED = {"metadata": {"resourceVersion": "5"}, "items": []}
ALLOWED = {"status": {"allowed": True}}


@dataclass
class Server:
    """Answers by address; an address without an answer is not there, and a watch says nothing."""

    answers: dict[str, Any] = field(default_factory=dict)
    misses: int = 0
    """How often it said that there is no such kind."""

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.sleep(3600)
            return response
        found = self.answers.get(request.path)
        code = found if isinstance(found, int) else 404 if found is None else 200
        self.misses += request.path == GROUP and code == 404
        body = found if isinstance(found, Mapping) else {"kind": "Status", "reason": "NotFound"}
        return web.Response(body=orjson.dumps(body), status=code, content_type="application/json")


USABLE = {GROUP: SERVED, SCHEMAS: KNOWN, REVIEWS: ALLOWED, f"{GROUP}/jobsets": LISTED}


@dataclass
class Looking:
    """A part under test, and what it asked."""

    job_sets: JobSets
    cache: Cache
    asked: list[Asked]


@asynccontextmanager
async def looking(server: Server, **settings: Any) -> AsyncIterator[Looking]:
    async with scripted_api() as api, client_of(api, server) as client:
        cache, queue = Cache(), WorkQueue[Key](Random(1))
        feed = Feed(cache, Mentions(), Census(), queue)
        job_sets = JobSets(client, cache, feed, Random(1), KubeSettings(runtime=build.RUNTIME, poll=0.05, **settings))
        task = asyncio.create_task(job_sets.run())
        try:
            yield Looking(job_sets, cache, api.asked)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def client_of(api: ScriptedApi, server: Server) -> AsyncIterator[KubeClient]:
    api.say(server)
    async with api.client() as client:
        yield client


async def until(look: Any) -> None:
    async with asyncio.timeout(10):
        while True:
            if look():
                return
            await asyncio.sleep(0.01)


async def test_what_is_served_and_permitted_is_used_once_it_is_listed() -> None:
    async with looking(Server(dict(USABLE))) as found:
        await found.job_sets.known.wait()
        assert found.job_sets.usable()
        assert [watch.synced.is_set() for watch in found.job_sets.watches] == [True]


async def test_a_cluster_without_them_is_known_at_once() -> None:
    async with looking(Server()) as found:
        await found.job_sets.known.wait()
        assert not found.job_sets.usable()


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ({SCHEMAS: {"properties": {}}}, "install JobSet 0.10 or newer"),
        ({SCHEMAS: 403}, "system:discovery"),
        ({REVIEWS: {"status": {"allowed": False}}}, "create jobsets (API group jobset.x-k8s.io) in all namespaces"),
    ],
    ids=["too old", "schemas forbidden", "not permitted"],
)
async def test_what_cannot_be_used_is_told_and_keeps_nobody_waiting(
    lacking: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with looking(Server(USABLE | lacking)) as found:
        await found.job_sets.known.wait()
        assert not found.job_sets.usable()
    assert any(words in getattr(record, "lacking", "") for record in caplog.records)


@pytest.mark.parametrize("late", [SCHEMAS, f"{GROUP}/jobsets"], ids=["schemas", "list"])
async def test_what_is_served_before_it_can_be_looked_at_is_waited_for(late: str) -> None:
    server = Server({address: answer for address, answer in USABLE.items() if address != late})
    async with looking(server) as found:
        await until(lambda: any(one.path == late for one in found.asked))
        assert not found.job_sets.known.is_set()
        server.answers[late] = USABLE[late]
        await until(found.job_sets.usable)


async def test_an_api_server_that_does_not_answer_leaves_it_open() -> None:
    server = Server({GROUP: 503})
    async with looking(server) as found:
        await until(lambda: len(found.asked) > 2)
        assert not found.job_sets.known.is_set()
        with pytest.raises(ApiError):
            await found.job_sets.look()


async def test_one_miss_ends_nothing_and_a_second_forgets_what_was_seen() -> None:
    server = Server(dict(USABLE))
    metadata = {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "5"}
    server.answers[f"{GROUP}/jobsets"] = LISTED | {"items": [{"metadata": metadata}]}
    async with looking(server) as found:
        await until(found.job_sets.usable)
        server.answers = {GROUP: 503}
        count = len(found.asked)
        await until(lambda: len(found.asked) > count + 3)
        assert found.job_sets.usable()
        assert found.cache.count(JOB_SETS) == 1
        server.answers = {}
        await until(lambda: not found.job_sets.usable())
        assert server.misses >= 2
        assert found.cache.count(JOB_SETS) == 0
        server.answers = dict(USABLE)
        await until(found.job_sets.usable)


async def test_nothing_is_asked_where_the_settings_forbid_them() -> None:
    async with looking(Server(dict(USABLE)), job_sets=False) as found:
        await found.job_sets.known.wait()
        assert not found.job_sets.usable()
        assert found.asked == []
