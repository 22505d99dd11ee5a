"""The smaller parts of the operator: events, named ConfigMaps, probes, metrics, logs, settings, permissions."""

import asyncio
import json
import logging
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_api.names import Image, Kind
from plumbline_api.reasons import Reason
from plumbline_operator.decision import Event, EventType
from plumbline_operator.kube.api.errors import Call, Unavailable
from plumbline_operator.kube.events import EventPoster
from plumbline_operator.kube.lease import LeaseTimes
from plumbline_operator.kube.logs import JsonFormatter
from plumbline_operator.kube.metrics import Metrics, Readings
from plumbline_operator.kube.permissions import NEEDED, NEEDED_FOR_LEASE, find_missing
from plumbline_operator.kube.seen.census import Standing
from plumbline_operator.kube.seen.configmaps import NamedConfigMaps
from plumbline_operator.kube.seen.mentions import ConfigMapName, Mentions
from plumbline_operator.kube.server import Health, HttpServer
from plumbline_operator.kube.settings import (
    LEAST_POLL,
    LEAST_RESYNC,
    LEAST_WORKERS,
    MOST_WORKERS,
    BadSettings,
    KubeSettings,
    ProgressSettings,
    check_settings,
    settings_from,
)
from plumbline_operator.observed import Key, Runtime
from tests.support import build
from tests.support.scripted_api import answer, failure, scripted_api

KEY = Key(Kind.ALIGNMENT_RUN, "ns", "base")
OTHER = Key(Kind.ALIGNMENT_RUN, "ns", "other")
STARTED = Event(EventType.NORMAL, Reason.RUNNING, "stage s0 started")


# Events


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return build.later(self.seconds)


async def told(poster: EventPoster, *events: Event, uid: str = "u1") -> None:
    for event in events:
        poster.tell(KEY, uid, event)
    task = asyncio.create_task(poster.run())
    await poster.drain(5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_event_is_told_once_and_counted_at_most_once_a_minute() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer({}))
        clock = Clock()
        poster = EventPoster(client, "replica-1", clock)
        await told(poster, STARTED, STARTED, STARTED)
        assert [one.method for one in api.asked] == ["POST"]
        body = api.asked[0].body
        assert (body["reason"], body["note"], body["type"]) == ("Running", "stage s0 started", "Normal")
        assert body["regarding"] == {
            "apiVersion": "plumbline.dev/v1alpha1",
            "kind": "AlignmentRun",
            "name": "base",
            "namespace": "ns",
            "uid": "u1",
        }
        clock.seconds = 61
        await told(poster, STARTED)
        assert [one.method for one in api.asked] == ["POST", "PATCH"]
        assert api.asked[1].path.endswith(f"/events/{body['metadata']['name']}")
        assert api.asked[1].body["series"]["count"] == 4


async def test_the_same_words_about_another_object_are_another_event() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer({}))
        poster = EventPoster(client, "replica-1", Clock())
        await told(poster, STARTED, uid="u1")
        await told(poster, STARTED, uid="u2")
        names = [one.body["metadata"]["name"] for one in api.asked]
        assert len(set(names)) == 2


async def test_what_was_told_before_a_restart_is_not_told_again() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(failure(409, "AlreadyExists"))
        poster = EventPoster(client, "replica-1", Clock())
        await told(poster, STARTED, STARTED)
        assert [one.method for one in api.asked] == ["POST"]
        assert poster.dropped == 0


async def test_an_event_that_the_server_has_forgotten_is_told_anew() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer({}), failure(404), answer({}))
        clock = Clock()
        poster = EventPoster(client, "replica-1", clock)
        await told(poster, STARTED)
        clock.seconds = 4000
        await told(poster, STARTED)
        assert [one.method for one in api.asked] == ["POST", "PATCH", "POST"]


async def test_events_that_cannot_be_told_are_dropped_and_counted() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(failure(500))
        poster = EventPoster(client, "replica-1", Clock())
        await told(poster, *(Event(EventType.WARNING, Reason.BAD_SPEC, f"{number}") for number in range(3)))
        assert poster.dropped == 3
        for number in range(1_500):
            poster.tell(KEY, "u1", Event(EventType.WARNING, Reason.BAD_SPEC, f"{number}"))
        assert poster.dropped == 503


async def test_a_long_note_is_cut_to_what_the_server_takes() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer({}))
        await told(
            EventPoster(client, "replica-1", Clock()),
            Event(EventType.WARNING, Reason.BAD_SPEC, "\N{BLACK STAR}" * 2000),
        )
        assert len(api.asked[0].body["note"].encode()) <= 1023


# ConfigMaps that people write


async def test_a_config_map_that_changes_wakes_all_that_name_it() -> None:
    name, woken, changed = ConfigMapName("ns", "rules"), list[Key](), asyncio.Event()
    mentions = Mentions()

    def wake(key: Key) -> None:
        woken.append(key)
        changed.set()

    mentions.record(KEY, [name])
    mentions.record(OTHER, [name])
    async with scripted_api() as api, api.client() as client:
        maps = NamedConfigMaps(client, mentions, wake, Random(1), period=0.05)
        api.say(answer({"metadata": {"resourceVersion": "1"}}), answer({"metadata": {"resourceVersion": "2"}}))
        found = await maps.get(name)
        assert found is not None
        again = await maps.get(name)
        assert again == found, "what is fresh is not fetched again"
        assert len(api.asked) == 1
        task = asyncio.create_task(maps.run())
        await asyncio.wait_for(changed.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert woken == [KEY, OTHER]


async def test_many_that_ask_at_once_cause_one_call_and_get_its_failure() -> None:
    async with scripted_api() as api, api.client() as client:
        maps = NamedConfigMaps(client, Mentions(), lambda _: None, Random(1))
        api.say(failure(404), failure(500))
        name = ConfigMapName("ns", "rules")
        assert await asyncio.gather(*(maps.get(name) for _ in range(10))) == [None] * 10
        assert len(api.asked) == 1
        found = await asyncio.gather(*(maps.get(ConfigMapName("ns", "x")) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [Unavailable] * 3
        assert len(api.asked) == 2


# Probes and metrics


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/{path}") as found:
        return found.status, await found.text()


@pytest.mark.parametrize(("alive", "ready"), [(True, True), (True, False), (False, False)])
async def test_probes_tell_how_it_is(*, alive: bool, ready: bool) -> None:
    health = Health(alive, ready, ("watch of jobs is stuck",), {"leader": True})
    server = HttpServer("127.0.0.1", 0, lambda: health, lambda: b"metrics\n")
    await server.start()
    try:
        status, text = await ask(server.port, "healthz")
        assert status == (200 if alive else 503)
        assert json.loads(text)["problems"] == ["watch of jobs is stuck"]
        assert (await ask(server.port, "readyz"))[0] == (200 if ready else 503)
        assert await ask(server.port, "metrics") == (200, "metrics\n")
        assert (await ask(server.port, "etc/passwd"))[0] == 404
    finally:
        await server.close()


def test_metrics_hold_what_was_counted_and_how_it_is_now() -> None:
    metrics = Metrics()
    metrics.called(Call("update", "alignmentruns.plumbline.dev", "ns", "base", "status"), 409, 0.02)
    metrics.reconciled(Kind.EVAL_GATE, "changed", 0.5)
    metrics.queue_waited(0.1)
    metrics.verdict("Failed")
    standing = Standing(Kind.ALIGNMENT_RUN, "Running", "dpo", "")
    metrics.observe(lambda: Readings(depth=7, leader=True, watch_ages={("jobs", ""): 3.0}, standings={standing: 12}))
    text = metrics.text().decode()
    for line in (
        'plumbline_api_requests_total{code="409",resource="alignmentruns.plumbline.dev/status",verb="update"} 1.0',
        'plumbline_reconcile_seconds_count{kind="EvalGate",result="changed"} 1.0',
        "plumbline_queue_wait_seconds_count 1.0",
        'plumbline_gate_verdicts_total{verdict="Failed"} 1.0',
        "plumbline_queue_depth 7.0",
        "plumbline_leader 1.0",
        'plumbline_watch_age_seconds{namespace="",resource="jobs"} 3.0',
        'plumbline_objects{kind="AlignmentRun",method="dpo",phase="Running",verdict=""} 12.0',
    ):
        assert line in text
    assert "_created" not in text


# Logs


def test_a_line_of_the_log_is_json_with_the_key_and_without_what_an_exception_says() -> None:
    try:
        raise ValueError("a harmful prompt")
    except ValueError as error:
        facts = {"object": str(KEY), "exc_info": error}
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f.py", 1, "a turn %s", ("failed",), (ValueError, error, error.__traceback__),
            extra={"object": facts["object"]},
        )  # fmt: skip
    line = JsonFormatter().format(record)
    found = json.loads(line)
    assert "\n" not in line
    assert (found["message"], found["level"], found["object"]) == ("a turn failed", "error", "AlignmentRun/ns/base")
    assert found["exception"] == "ValueError"
    assert found["frames"][0].startswith(__file__)
    assert "harmful" not in line


# Settings


def pods(**more: Any) -> str:
    images = {image.value: reference for image, reference in build.RUNTIME.images.items()}
    return json.dumps({"images": images, "store": "s3://bucket/prefix"} | more)


def test_settings_come_from_flags_before_variables_before_defaults(tmp_path: Path) -> None:
    file = tmp_path / "pods.json"
    file.write_text(pods(pullSecrets=["registry"], egress=[], startDeadline=600))
    environ = {"PLUMBLINE_PODS": str(file), "PLUMBLINE_WORKERS": "20", "PLUMBLINE_NAMESPACES": "one, two,", "HOME": "/"}
    found = settings_from(environ, workers=32, resync=None, store=None)
    assert (found.workers, found.namespaces, found.resync, found.port) == (32, ("one", "two"), 600.0, 8080)
    assert found.runtime == Runtime(
        images=build.RUNTIME.images,
        store="s3://bucket/prefix",
        pull_secrets=("registry",),
        egress=(),
        start_deadline=600,
        beside=True,
        linger=10,
        patience=15.0,
    )
    assert settings_from({"PLUMBLINE_PODS": pods()}, store="s3://other").runtime.store == "s3://other"


LISTENING = pods(progress={"url": "https://plumbline.ns.svc:8443", "egress": [{"ports": [{"port": 8443}]}]})


def test_the_file_about_pods_says_whether_anybody_listens_to_progress() -> None:
    assert settings_from({"PLUMBLINE_PODS": pods(), "PLUMBLINE_PROGRESS_SECRET": "a/b"}).progress is None
    found = settings_from({"PLUMBLINE_PODS": LISTENING, "PLUMBLINE_PROGRESS_SECRET": "ns/name"}).progress
    egress = ({"ports": [{"port": 8443}]},)
    assert found == ProgressSettings("https://plumbline.ns.svc:8443", egress, 8443, "ns/name", None)
    own = settings_from({"PLUMBLINE_PODS": LISTENING, "PLUMBLINE_PROGRESS_CERTIFICATE": "/certificate"}).progress
    assert own is not None
    assert own.certificate == Path("/certificate")


@pytest.mark.parametrize(
    ("environ", "flags", "words"),
    [
        ({}, {}, "no file was given"),
        ({"PLUMBLINE_PODS": "/nowhere.json"}, {}, "cannot be read"),
        ({"PLUMBLINE_PODS": "{}"}, {}, "images: Field required"),
        ({"PLUMBLINE_PODS": "{nonsense"}, {}, "Invalid JSON"),
        ({"PLUMBLINE_PODS": pods(imges={})}, {}, "imges: Extra inputs are not permitted"),
        ({"PLUMBLINE_PODS": pods(images={"trainer": "x:latest"})}, {}, "trainer is x:latest, which names no digest"),
        ({"PLUMBLINE_PODS": pods(images={})}, {}, "guard is missing"),
        ({"PLUMBLINE_PODS": pods(store="")}, {}, "store"),
        ({"PLUMBLINE_PODS": pods(store=None)}, {}, "store: nothing is no address of a store"),
        ({"PLUMBLINE_PODS": pods(store="oci://a/b")}, {}, "store: oci://a/b is no address of a store"),
        ({"PLUMBLINE_PODS": pods(store="file:///a", s3={"region": "b"})}, {}, "file:///a is no object store"),
        ({"PLUMBLINE_PODS": pods(store="s3://a", s3={"endpoint": "objects"})}, {}, "s3.endpoint"),
        ({"PLUMBLINE_PODS": pods(store="s3://a", s3={"caSecret": "b", "caConfigMap": "c"})}, {}, "exclude each other"),
        ({"PLUMBLINE_PODS": pods(), "PLUMBLINE_WORKERS": "many"}, {}, "workers: Input should be a valid integer"),
        ({"PLUMBLINE_PODS": pods(), "PLUMBLINE_WORKERS": "0"}, {}, "workers: 0 is not in"),
        ({"PLUMBLINE_PODS": pods()}, {"resync": 1.0}, "resync: 1 s is less than"),
        ({"PLUMBLINE_PODS": pods()}, {"port": 70000}, "port: 70000 is no port"),
        ({"PLUMBLINE_PODS": pods(), "PLUMBLINE_NAMESPACES": "Not A Name"}, {}, "namespaces.0"),
        ({"PLUMBLINE_PODS": pods(progress={"url": "http://x:1"})}, {}, "progress.url"),
        ({"PLUMBLINE_PODS": pods(progress={"url": "https://x"})}, {}, "progress_secret: nothing names no Secret"),
        ({"PLUMBLINE_PODS": LISTENING, "PLUMBLINE_PROGRESS_SECRET": "name"}, {}, "progress_secret: name names no"),
        ({"PLUMBLINE_PODS": LISTENING}, {"progress_secret": "a/b", "progress_port": -1}, "progress_port: -1 is no"),
    ],
)
def test_settings_that_cannot_be_obeyed_are_refused_in_words(
    environ: dict[str, str], flags: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadSettings) as refused:
        settings_from(environ, **flags)
    assert any(words in problem for problem in refused.value.problems), refused.value.problems


CALL_SECONDS = 0.05
"""What a call of a busy API server takes."""
CALLS = 3
"""In a row, for an object: its ConfigMap, its Job, its status."""


@given(st.integers(-5, 2000), st.floats(-10, 1e6), st.floats(-10, 1e6), st.floats(-10, 1e4))
def test_no_settings_make_it_slower_than_100_objects_a_second(
    workers: int, resync: float, relist: float, poll: float
) -> None:
    settings = KubeSettings(build.RUNTIME, workers=workers, resync=resync, relist=relist, poll=poll)
    try:
        check_settings(settings)
    except BadSettings:
        slow = workers < LEAST_WORKERS or min(resync, relist) < LEAST_RESYNC or poll < LEAST_POLL
        assert slow or workers > MOST_WORKERS, "what is fast enough is not refused"
        return
    assert workers / (CALLS * CALL_SECONDS) >= 100
    assert 10_000 / resync <= 200, "looking again at 10,000 objects leaves time for others"


@pytest.mark.parametrize(
    "times", [LeaseTimes(15, 15, 2), LeaseTimes(15, 10, 6), LeaseTimes(15, 10, 0), LeaseTimes(5, 10, 2)]
)
def test_lease_times_that_let_two_replicas_work_are_refused(times: LeaseTimes) -> None:
    with pytest.raises(BadSettings, match="lease"):
        check_settings(KubeSettings(build.RUNTIME, lease=times))


def test_every_image_but_vllms_has_to_be_named() -> None:
    for image in Image:
        images = {other: name for other, name in build.RUNTIME.images.items() if other != image}
        settings = KubeSettings(Runtime(images=images, store="s3://b"))
        if image.required:
            with pytest.raises(BadSettings, match=f"images: {image.value} is missing"):
                check_settings(settings)
        else:
            check_settings(settings)


def test_every_image_needs_a_digest() -> None:
    for image in Image:
        images = {**build.RUNTIME.images, image: "registry/x:1"}
        with pytest.raises(BadSettings, match=f"images: {image.value}"):
            check_settings(KubeSettings(Runtime(images=images, store="s3://b")))


# Permissions


async def test_each_permission_is_asked_for_in_each_namespace_and_what_is_refused_is_named() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer({"status": {"allowed": False}}), answer({"status": {"allowed": True}}))
        missing = await find_missing(client, ("one", "two"), "leases")
        assert len(missing) == 1
        assert len(api.asked) == 2 * len(NEEDED) + len(NEEDED_FOR_LEASE)
        asked = [one.body["spec"]["resourceAttributes"] for one in api.asked]
        assert {
            "verb": "update",
            "group": "plumbline.dev",
            "resource": "evalgates",
            "subresource": "status",
            "namespace": "two",
        } in asked
        assert {one["namespace"] for one in asked} == {"one", "two", "leases"}
        api.asked.clear()
        await find_missing(client, (), None)
        assert all("namespace" not in one.body["spec"]["resourceAttributes"] for one in api.asked)


def test_no_permission_is_a_wildcard_and_none_is_about_secrets() -> None:
    for permission in (*NEEDED, *NEEDED_FOR_LEASE):
        assert "*" not in str(permission)
        assert "secrets" not in permission.resource
