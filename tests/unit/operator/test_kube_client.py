"""The client: what it sends, what it makes of each answer, and that every call ends in time."""

import asyncio
import time
from pathlib import Path
from typing import Any

import kopf
import pytest
import yaml

from plumbline_operator.kube.api.client import Page, Preconditions
from plumbline_operator.kube.api.errors import (
    AlreadyExists,
    ApiError,
    Call,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from plumbline_operator.kube.api.login import Login, LoginFailed, find_credentials
from plumbline_operator.kube.api.resources import CONFIG_MAPS, JOBS, Watched
from tests.support.scripted_api import answer, events, failure, scripted_api

JOB = {"metadata": {"name": "job", "namespace": "ns"}}
RBAC = 'jobs.batch is forbidden: User "x" cannot create resource "jobs" in API group "batch" in the namespace "ns"'


async def test_each_call_says_exactly_what_is_meant() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer(JOB))
        await client.get(JOBS, "ns", "job")
        await client.create(JOBS, "ns", JOB)
        await client.apply(JOBS, "ns", "job", JOB)
        await client.merge(JOBS, "ns", "job", JOB)
        await client.replace(JOBS, "ns", "job", JOB, subresource="status")
        await client.delete(JOBS, "ns", "job", Preconditions("u1", "7"), propagation="Foreground")
        path = "/apis/batch/v1/namespaces/ns/jobs"
        asked = [(one.method, one.path, one.headers.get("Content-Type"), dict(one.query)) for one in api.asked]
        json, own = "application/json", {"fieldManager": "plumbline"}
        assert asked == [
            ("GET", f"{path}/job", None, {}),
            ("POST", path, json, own),
            ("PATCH", f"{path}/job", "application/apply-patch+yaml", own | {"force": "true"}),
            ("PATCH", f"{path}/job", "application/merge-patch+json", own),
            ("PUT", f"{path}/job/status", json, own),
            ("DELETE", f"{path}/job", json, {}),
        ]
        assert api.asked[-1].body["preconditions"] == {"uid": "u1", "resourceVersion": "7"}
        assert api.asked[-1].body["propagationPolicy"] == "Foreground"
        assert {one.headers["Authorization"] for one in api.asked} == {"Bearer first"}


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Unavailable),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Gone),
        (413, "RequestEntityTooLarge", Invalid),
        (415, "UnsupportedMediaType", Invalid),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", TooManyRequests),
        (500, "InternalError", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
        (504, "Timeout", Unavailable),
    ],
)
async def test_each_refusal_has_a_type(code: int, reason: str, error: type[ApiError]) -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(failure(code, reason, "because"))
        with pytest.raises(ApiError, match=r"get jobs.batch job in namespace ns: because") as caught:
            await client.get(JOBS, "ns", "job")
        assert type(caught.value) is error
        assert caught.value.code == code


async def test_a_refusal_names_the_fields_and_the_wait() -> None:
    async with scripted_api() as api, api.client() as client:
        causes = [{"reason": "FieldValueRequired", "field": "spec.a"}, {"field": "spec.b"}]
        api.say(failure(422, "Invalid", causes=causes))
        with pytest.raises(Invalid) as invalid:
            await client.create(JOBS, "ns", JOB)
        assert (invalid.value.fields, invalid.value.cause) == (("spec.a", "spec.b"), "FieldValueRequired")
        api.say(answer({}, 429, Retry_After="3"), failure(503, retryAfterSeconds=9), failure(500))
        api.script.popleft()
        waits = []
        for _ in range(3):
            with pytest.raises(ApiError) as busy:
                await client.create(JOBS, "ns", JOB)
            waits.append(busy.value.retry_after)
        assert waits == [3.0, 9.0, None]


@pytest.mark.parametrize(
    ("message", "lacking"),
    [(RBAC, True), ('jobs.batch "job" is forbidden: exceeded quota: small, requested: count/jobs.batch=1', False)],
)
async def test_a_missing_right_is_told_from_a_quota(message: str, *, lacking: bool) -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(failure(403, "Forbidden", message))
        with pytest.raises(Forbidden) as caught:
            await client.create(JOBS, "ns", JOB)
        assert bool(caught.value.lacking) is lacking
        assert not caught.value.ending


async def test_a_namespace_that_ends_is_told_from_a_missing_right() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(failure(403, "Forbidden", "no", causes=[{"reason": "NamespaceTerminating"}]))
        with pytest.raises(Forbidden) as caught:
            await client.create(JOBS, "ns", JOB)
        assert caught.value.ending
        assert not caught.value.lacking


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (answer(b"<html>"), "no JSON"),
        (answer(b"[]"), "no object"),
        (answer(b"<html>", 502), "HTTP 502"),
        (answer(code=0), "connection failed"),
        (answer(JOB, delay=5), "no answer in time"),
    ],
)
async def test_whatever_is_no_answer_is_unavailable_and_in_time(script: Any, words: str) -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(script)
        begun = time.monotonic()
        with pytest.raises(Unavailable, match=words):
            await client.create(JOBS, "ns", JOB)
        assert time.monotonic() - begun < 3


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with scripted_api() as api:
        url = api.url
    async with scripted_api() as api, api.client() as client:
        api.url = url
        with pytest.raises(Unavailable, match="connection failed"):
            await client.get(JOBS, "ns", "job")


async def test_every_call_is_counted_answered_or_not() -> None:
    counted: list[tuple[str, str, int]] = []

    def count(call: Call, code: int, seconds: float) -> None:
        assert 0 <= seconds < 5
        counted.append((call.verb, call.resource + call.subresource, code))

    async with scripted_api() as api, api.client(count=count) as client:
        api.say(answer(JOB), failure(409), answer(code=0), events())
        await client.get(JOBS, "ns", "job")
        with pytest.raises(Conflict):
            await client.replace(JOBS, "ns", "job", JOB, subresource="status")
        with pytest.raises(Unavailable):
            await client.create(JOBS, "ns", JOB)
        assert [line async for line in client.watch(Watched(JOBS), "ns", "1", seconds=1)] == []
    assert counted == [
        ("get", "jobs.batch", 200),
        ("update", "jobs.batchstatus", 409),
        ("create", "jobs.batch", 0),
        ("watch", "jobs.batch", 200),
    ]


async def test_a_list_is_read_in_pages_of_what_was_selected() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(
            answer({"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [1, 2]}),
            answer({"metadata": {"resourceVersion": "7", "continue": ""}, "items": [3]}),
        )
        what = Watched(CONFIG_MAPS, "a=b", metadata_only=True)
        first = await client.page(what, None, size=2)
        assert first == Page((1, 2), "7", "more")  # type: ignore[arg-type]
        assert await client.page(what, None, first.more, size=2) == Page((3,), "7")  # type: ignore[arg-type]
        queries = [dict(one.query) for one in api.asked]
        assert queries == [
            {"limit": "2", "labelSelector": "a=b"},
            {"limit": "2", "labelSelector": "a=b", "continue": "more"},
        ]
        assert api.asked[0].path == "/api/v1/configmaps"
        assert api.asked[0].headers["Accept"].startswith("application/json;as=PartialObjectMetadataList;")


async def test_a_watch_gives_whole_lines_however_they_arrive() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(events(b'{"a"', b': 1}\n{"b": 2}\n{"c', b'": 3}\n', delay=0.02))
        lines = [line async for line in client.watch(Watched(JOBS, "x=y"), "ns", "41", seconds=3)]
        assert lines == [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}']
        query = dict(api.asked[0].query)
        assert query.pop("timeoutSeconds") == "3"
        assert query == {"watch": "1", "allowWatchBookmarks": "1", "resourceVersion": "41", "labelSelector": "x=y"}


@pytest.mark.parametrize("then", ["silence", "break"])
async def test_a_watch_that_falls_silent_or_breaks_is_unavailable(then: str) -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(events(b"{}\n", then=then))
        stream = client.watch(Watched(JOBS), "ns", "1", seconds=60)
        assert await anext(stream) == b"{}"
        with pytest.raises(Unavailable):
            await anext(stream)


async def test_a_refused_watch_is_an_error() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(failure(410, "Expired"))
        with pytest.raises(Gone):
            await anext(client.watch(Watched(JOBS), "ns", "1", seconds=60))


async def test_a_refused_token_is_read_again_before_the_next_call() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer(JOB), failure(401), answer(JOB))
        await client.get(JOBS, "ns", "job")
        api.token = "second"
        with pytest.raises(Unavailable):
            await client.get(JOBS, "ns", "job")
        await asyncio.sleep(1.1)
        await client.get(JOBS, "ns", "job")
        assert [one.headers["Authorization"] for one in api.asked] == ["Bearer first", "Bearer first", "Bearer second"]


# Credentials


def test_a_rotated_token_is_found_within_a_minute_and_keeps_the_connection() -> None:
    now, token = [0.0], ["first"]
    login = Login(lambda: now[0], lambda: kopf.ConnectionInfo(server="https://api:6443/", token=token[0]))
    first = login.access()
    assert (first.server, first.headers) == ("https://api:6443", {"Authorization": "Bearer first"})
    token[0] = "second"
    now[0] = 59.0
    assert login.access() is first
    now[0] = 61.0
    assert login.access().headers == {"Authorization": "Bearer second"}
    assert login.access().tls is first.tls
    now[0] = 122.0
    assert login.access() is login.access()


def test_many_refusals_at_once_cause_one_look() -> None:
    looks: list[float] = []
    now = [0.0]

    def find() -> kopf.ConnectionInfo:
        looks.append(now[0])
        return kopf.ConnectionInfo(server="http://api", token="t")

    login = Login(lambda: now[0], find)
    login.access()
    now[0] = 1.5
    for _ in range(20):
        login.suspect()
        login.access()
    assert looks == [0.0, 1.5]


def test_no_credentials_are_told_with_the_remedy() -> None:
    with pytest.raises(LoginFailed, match="set KUBECONFIG"):
        Login(lambda: 0.0, lambda: None).access()
    with pytest.raises(LoginFailed, match="neither a token nor a certificate"):
        Login(lambda: 0.0, lambda: kopf.ConnectionInfo(server="https://api")).access()
    with pytest.raises(LoginFailed, match="cannot be used"):
        Login(lambda: 0.0, lambda: kopf.ConnectionInfo(server="https://api", token="t", ca_data="eA==")).access()


@pytest.mark.parametrize("text", ["{", "clusters: 3", "current-context: nowhere\n"])
def test_a_broken_kubeconfig_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(LoginFailed, match="KUBECONFIG"):
        Login(lambda: 0.0).access()


def test_a_kubeconfig_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:8001"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    found = find_credentials()
    assert found is not None
    assert (found.server, found.token, found.default_namespace) == ("http://127.0.0.1:8001", "t", "ns")
