"""Parts of the status endpoint: how often something may happen, who is asked about a token, what is remembered."""

import asyncio
import base64
import json
import ssl
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from plumbline_api.names import LABEL_OWNER, LABEL_OWNER_KIND, LABEL_SUITE, VOLUME_STATUS, Kind
from plumbline_api.progress import Progress
from plumbline_operator.kube.api.errors import ApiError
from plumbline_operator.kube.api.resources import JOBS, PODS
from plumbline_operator.kube.progress.buckets import Buckets
from plumbline_operator.kube.progress.certificates import (
    CertificateFolder,
    Certificates,
    CertificateUnusable,
    OwnAuthority,
)
from plumbline_operator.kube.progress.issuing import answer as issued
from plumbline_operator.kube.progress.issuing import issue, make_authority
from plumbline_operator.kube.progress.reports import Reports
from plumbline_operator.kube.progress.reviews import Caller, Reviews, TooManyReviews
from plumbline_operator.kube.progress.tokens import Claims, read_claims
from plumbline_operator.kube.queue import WorkQueue
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.kube.seen.relations import trim
from plumbline_operator.kube.workloads.states import job_state
from plumbline_operator.observed import Key
from tests.support import build, kubeobjects
from tests.support.scripted_api import answer, failure, scripted_api
from tests.support.virtual_time import run_virtually

AUDIENCE = "plumbline.dev/namespaces/ns/jobs/job"
OWNER = Key(Kind.ALIGNMENT_RUN, "ns", "base")


def virtually(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtually(test())


# How often


def test_a_bucket_gives_a_few_at_once_and_then_one_in_each_period() -> None:
    now = 100.0
    buckets = Buckets(burst=3, period=2.0, most=10, time=lambda: now)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 2]
    assert buckets.take("b") == 0, "another has its own"
    now += 1.5
    assert buckets.take("a") == 0.5
    now += 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0, 2]
    now += 1000
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 2], "it is never more than full"


def test_only_so_many_buckets_are_remembered_and_the_busiest_stay() -> None:
    buckets = Buckets(burst=1, period=1000.0, most=5, time=lambda: 0.0)
    assert buckets.take("busy") == 0
    for number in range(100):
        buckets.take(number)
        buckets.take("busy")
    assert len(buckets._full_at) == 5


# Tokens


def token(**claims: Any) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.c2lnbmF0dXJl"


@pytest.mark.parametrize("padding", range(4))
def test_claims_are_read_whatever_the_length_of_a_token(padding: int) -> None:
    found = read_claims(token(aud=["a", "b"], **{"kubernetes.io": {"pod": {"uid": "u"}, "x": "x" * padding}}))
    assert found == Claims(("a", "b"), "u")


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "a.b", "a.b.c", "..", "a.!!.c", "é.é.é", token(), token(aud="x"),
        token(aud=3, **{"kubernetes.io": {}}),
        token(aud=[], **{"kubernetes.io": 3}), token(aud=[], **{"kubernetes.io": {"pod": 3}}), f"a.{'b' * 9000}.c",
        f"a.{base64.b64encode(b'[' * 5000).decode()}.c",
    ],
)  # fmt: skip
def test_what_is_no_token_of_an_account_claims_nothing(text: str) -> None:
    assert read_claims(text) is None


def reviewed(*, ok: bool = True, audiences: tuple[str, ...] = (AUDIENCE,), pod: str = "pod-1") -> Mapping[str, Any]:
    extra = {"authentication.kubernetes.io/pod-uid": [pod]} if pod else {}
    user = {"username": "system:serviceaccount:ns:trainer", "extra": extra}
    return {"status": {"authenticated": ok, "audiences": list(audiences), "user": user}}


async def test_an_answer_counts_for_a_minute_and_many_at_once_ask_once() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer(reviewed(), delay=0.05))
        reviews = Reviews(client)
        found = await asyncio.gather(*(reviews.ask("a.b.c", AUDIENCE) for _ in range(20)))
        assert set(found) == {Caller("system:serviceaccount:ns:trainer", "pod-1")}
        await reviews.ask("a.b.c", AUDIENCE)
        assert len(api.asked) == 1
        assert api.asked[0].body["spec"] == {"token": "a.b.c", "audiences": [AUDIENCE]}
        await reviews.ask("a.b.c", "another")
        assert len(api.asked) == 2, "good for one Job is not good for another"
        assert "a.b.c" not in repr(vars(reviews))


@pytest.mark.parametrize("said", [reviewed(ok=False), reviewed(audiences=()), reviewed(audiences=("x",)), {}])
async def test_what_is_not_vouched_for_is_nobodys_and_not_asked_again(said: Mapping[str, Any]) -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer(said))
        reviews = Reviews(client)
        assert await reviews.ask("a.b.c", AUDIENCE) is None
        assert await reviews.ask("a.b.c", AUDIENCE) is None
        assert len(api.asked) == 1


async def test_a_token_that_is_bound_to_no_pod_names_none() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer(reviewed(pod="")))
        caller = await Reviews(client).ask("a.b.c", AUDIENCE)
        assert caller is not None
        assert caller.pod_uid is None


async def test_unknown_tokens_of_one_job_have_to_wait_and_those_of_another_have_not() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(answer(reviewed(ok=False)))
        reviews = Reviews(client)
        for number in range(5):
            await reviews.ask(f"a.b.{number}", AUDIENCE)
        with pytest.raises(TooManyReviews) as refused:
            await reviews.ask("a.b.6", AUDIENCE)
        assert 0 < refused.value.seconds <= 5
        assert await reviews.ask("a.b.1", AUDIENCE) is None, "known ones have not"
        await reviews.ask("a.b.6", "another")
        assert len(api.asked) == 6


async def test_a_failure_of_the_api_server_is_no_answer() -> None:
    async with scripted_api() as api, api.client() as client:
        api.say(failure(403), answer(reviewed()))
        reviews = Reviews(client)
        with pytest.raises(ApiError):
            await reviews.ask("a.b.c", AUDIENCE)
        assert await reviews.ask("a.b.c", AUDIENCE) is not None


# Reports


def job(uid: str = "job-1", version: str = "1") -> dict[str, Any]:
    labels = {LABEL_OWNER: "base", LABEL_OWNER_KIND: "AlignmentRun", LABEL_SUITE: "attacks"}
    return {"metadata": {"name": "job", "namespace": "ns", "uid": uid, "resourceVersion": version, "labels": labels}}


def at(second: int) -> Progress:
    return Progress(progress_percentage=second, last_updated_time=build.later(second))


def test_an_owner_is_looked_at_for_the_first_report_and_then_every_15_seconds() -> None:
    async def test() -> None:
        queue: WorkQueue[Key] = WorkQueue(Random(1))
        cache = Cache()
        cache.put(JOBS, job())
        reports = Reports(cache, queue)
        looks = 0
        for second in range(60):
            reports.put(JOBS, job(), at(second))
            while queue.depth:
                assert await queue.get() == OWNER, "a suite is not interested"
                queue.done(OWNER)
                looks += 1
            await asyncio.sleep(1)
        assert 4 <= looks <= 5
        newest = reports.newest("ns", "job")
        assert newest == at(59)
        await asyncio.sleep(15)
        assert queue.depth == 1, "the last is not forgotten"

    virtually(test)


def test_reports_of_jobs_that_are_gone_are_let_go() -> None:
    async def test() -> None:
        cache = Cache()
        cache.put(JOBS, job())
        reports = Reports(cache, WorkQueue(Random(1)))
        reports.put(JOBS, job(), at(1))
        reports.sweep()
        assert len(reports) == 1
        cache.put(JOBS, job("job-2", "2"))
        assert reports.newest("ns", "job") is None, "that was another Job of this name"
        reports.sweep()
        assert len(reports) == 0

    virtually(test)


# Silence, as it is observed


def silent_since(*, listening: bool = True, told: float | None = None, volume: bool = True) -> datetime | None:
    pod = kubeobjects.pod(kubeobjects.running())
    pod["spec"]["volumes"] = [{"name": VOLUME_STATUS}] if volume else []
    progress = None if told is None else Progress(last_updated_time=build.later(told))
    since = build.later(-50) if listening else None
    raw = kubeobjects.job(active=1)
    return job_state(raw, [pod], progress, build.later(900), listening_since=since).silent_since


def test_a_pod_is_silent_since_it_began_or_reported_or_could_be_heard() -> None:
    assert silent_since() == build.later(1)
    assert silent_since(told=700) == build.later(700)
    assert silent_since(told=-200) == build.later(1)
    assert silent_since(listening=False) is None
    assert silent_since(volume=False) is None, "made by an operator that did not listen"


def test_of_a_pods_volumes_only_that_one_is_kept() -> None:
    raw = {"metadata": {"name": "p"}, "spec": {"containers": [], "volumes": [{"name": "x"}, {"name": VOLUME_STATUS}]}}
    assert trim(PODS, raw)["spec"]["volumes"] == [{"name": VOLUME_STATUS}]
    assert "volumes" not in trim(PODS, {"metadata": {"name": "p"}, "spec": {"volumes": [{"name": "x"}]}})["spec"]


# Certificates


def secret(authority: Mapping[str, str]) -> dict[str, Any]:
    data = {"tls.crt": authority["certificate"], "tls.key": authority["key"]}
    return {
        "metadata": {"name": "s"},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


async def shown(certificates: Certificates, host: str = "localhost") -> str:
    """Who a client sees that trusts what pods are told to trust."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=certificates.context) as server:
        port = server.sockets[0].getsockname()[1]
        trusting = ssl.create_default_context(cadata=certificates.authority)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=host)
        try:
            return str(writer.get_extra_info("peercert")["serialNumber"])
        finally:
            writer.close()


async def test_the_first_replica_makes_the_authority_and_one_that_comes_too_late_takes_that() -> None:
    theirs = make_authority(datetime.now(UTC))
    async with scripted_api() as api, api.client() as client:
        api.say(failure(404), failure(409, "AlreadyExists"), answer(secret(theirs)))
        certificates = Certificates(OwnAuthority(client, "ns", "s", ["localhost", "127.0.0.1"]))
        await certificates.renew()
        made = api.asked[1].body
        assert (made["type"], set(made["stringData"])) == ("kubernetes.io/tls", {"tls.crt", "tls.key"})
        assert made["stringData"]["tls.crt"] != theirs["certificate"]
        assert certificates.authority == theirs["certificate"]
        before = await shown(certificates)
        await certificates.renew()
        assert await shown(certificates, "127.0.0.1") != before, "a new one is shown, without a new listener"


@pytest.mark.parametrize("fault", ["empty", "garbage", "over", "mixed"])
async def test_an_authority_that_cannot_be_used_is_told_with_the_remedy(fault: str) -> None:
    good, other = (make_authority(datetime.now(UTC)) for _ in range(2))
    old = make_authority(datetime.now(UTC) - timedelta(days=3600))
    broken = {
        "empty": {"metadata": {"name": "s"}},
        "garbage": secret({"certificate": "nonsense", "key": "secret words"}),
        "over": secret(old),
        "mixed": secret({**good, "key": other["key"]}),
    }[fault]
    async with scripted_api() as api, api.client() as client:
        api.say(answer(broken))
        with pytest.raises(CertificateUnusable, match=r"Secret s in namespace ns .* delete it and start again") as told:
            await Certificates(OwnAuthority(client, "ns", "s", ["localhost"])).renew()
        assert "secret words" not in str(told.value)


def test_orders_without_an_authority_bring_one() -> None:
    made = issued({"hosts": ["localhost"]})
    assert set(made) == {"authority", "certificate"}
    assert issued({"authority": {"certificate": "x", "key": "y"}, "hosts": ["localhost"]}).keys() == {"problem"}


def write(folder: Path, *, authority: Mapping[str, str] | None = None) -> None:
    found = authority or make_authority(datetime.now(UTC))
    pair = issue(found, ["localhost"], datetime.now(UTC))
    for name, text in (("tls.crt", pair["certificate"]), ("tls.key", pair["key"]), ("ca.crt", found["certificate"])):
        (folder / name).write_text(text)


async def test_a_certificate_of_ones_own_is_shown_and_read_again_when_it_changes(tmp_path: Path) -> None:
    with pytest.raises(CertificateUnusable, match=r"tls\.crt cannot be read"):
        await Certificates(CertificateFolder(tmp_path)).renew()
    write(tmp_path)
    certificates = Certificates(CertificateFolder(tmp_path))
    await certificates.renew()
    first = await shown(certificates)
    write(tmp_path)
    await certificates.renew()
    second = await shown(certificates)
    assert first != second
    (tmp_path / "tls.key").write_text(make_authority(datetime.now(UTC))["key"])
    with pytest.raises(CertificateUnusable, match="do not belong together"):
        await certificates.renew()
    assert await shown(certificates) == second, "what worked is shown on"
