"""What an object store can do to us: refuse, fall silent in the middle, be in another time; and what is said of it."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, IncompleteReadError, ReadTimeoutError

from plumbline_api.artifact import MediaType
from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason
from plumbline_store import NoSpace, NotPermitted, SourceUnusable, Store, StoreError, Unavailable, open_store
from plumbline_store.s3client import in_s3_words
from plumbline_store.transfers import PART
from tests.support.checkout import ROOT
from tests.support.objectstore import Asked, ObjectStore, Refusal, run_object_store
from tests.unit.store.places import CONTENT, BucketPlaces, blobs, manifests

LARGE = 3 * PART + 5


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(os.urandom(LARGE))
    return path


@pytest.fixture
def bucket_store(bucket_places: BucketPlaces, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    return open_store(bucket_places.uri)


def uploads(asked: Asked) -> bool:
    return asked.method == "PUT" and "partNumber" in asked.query


def test_a_large_file_goes_and_comes_in_parts(
    bucket_store: Store, object_store: ObjectStore, large: Path, tmp_path: Path
) -> None:
    before = len(object_store.requests)
    told: list[int] = []
    ref = bucket_store.import_path(large, MediaType.MODEL, told=lambda done, _: told.append(done))
    assert sum(map(uploads, object_store.requests[before:])) == 4
    assert told == sorted(told)
    assert told[-1] == LARGE
    out = bucket_store.checkout(ref.digest, tmp_path / "out")
    assert (out / large.name).read_bytes() == large.read_bytes()


def test_what_is_there_already_is_not_sent_again(bucket_store: Store, object_store: ObjectStore, large: Path) -> None:
    first = bucket_store.publish(large, MediaType.MODEL)
    before = len(object_store.requests)
    assert bucket_store.publish(large, MediaType.MODEL) == first
    assert [asked for asked in object_store.requests[before:] if uploads(asked)] == []


def test_a_content_that_changes_on_the_way_never_becomes_visible(
    bucket_store: Store, bucket_places: BucketPlaces, object_store: ObjectStore, large: Path
) -> None:
    def change(asked: Asked) -> None:
        if uploads(asked):
            with large.open("r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"X")

    object_store.fault = change
    with pytest.raises(SourceUnusable, match="changed while it was being published"):
        bucket_store.publish(large, MediaType.MODEL)
    assert (blobs(bucket_places), manifests(bucket_places), bucket_places.leftovers()) == ([], [], [])


def test_down_in_mid_upload_nothing_is_visible_and_the_next_attempt_goes_on(
    bucket_store: Store, bucket_places: BucketPlaces, object_store: ObjectStore, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.safetensors").write_bytes(os.urandom(2 * PART))
    sent: list[Asked] = []

    def down(asked: Asked) -> Refusal | None:
        sent.extend([asked] if uploads(asked) else [])
        return Refusal("503 Service Unavailable", "ServiceUnavailable") if len(sent) > 3 else None

    object_store.fault = down
    with pytest.raises(Unavailable, match="cannot do it at the moment") as caught:
        bucket_store.publish(folder, MediaType.MODEL)
    assert (caught.value.exit_code, caught.value.reason) == (ExitCode.UNAVAILABLE, Reason.DEPENDENCY_UNAVAILABLE)
    object_store.fault = lambda _: None
    assert manifests(bucket_places) == []
    ref = bucket_store.publish(folder, MediaType.MODEL)
    bucket_store.verify(ref.digest)
    assert len(blobs(bucket_places)) == 2


def test_an_answer_that_breaks_off_is_asked_for_again(
    bucket_store: Store, object_store: ObjectStore, large: Path
) -> None:
    ref = bucket_store.publish(large, MediaType.MODEL)
    begun = len(object_store.requests)

    def break_off(asked: Asked) -> Refusal | None:
        return Refusal() if asked.number == begun + 2 else None

    object_store.fault = break_off
    bucket_store.verify(ref.digest)


def test_an_unfinished_upload_of_a_dead_writer_is_removed_a_day_later(
    bucket_store: Store, bucket_places: BucketPlaces, object_store: ObjectStore, large: Path
) -> None:
    client, bucket = bucket_places.client, bucket_places.bucket
    for key in ("team/models/blobs/sha256/aa/dead", "elsewhere/alive"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    object_store.begun = {upload: begun - timedelta(days=2) for upload, begun in object_store.begun.items()}
    client.create_multipart_upload(Bucket=bucket, Key="team/models/blobs/sha256/aa/alive")
    bucket_store.publish(large, MediaType.MODEL)
    left = {upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"]}
    assert left == {"elsewhere/alive", "team/models/blobs/sha256/aa/alive"}


def test_several_writers_of_one_name_make_it_once(bucket_store: Store, bucket_places: BucketPlaces) -> None:
    refs = []
    writers = [
        threading.Thread(target=lambda: refs.append(bucket_store.publish_bytes(CONTENT, MediaType.MODEL)))
        for _ in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(set(refs)) == 1
    assert len(refs) == 4
    assert len(manifests(bucket_places)) == 1


def test_memory_does_not_grow_with_a_file(bucket_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(os.urandom(1 << 20) * 128)
    command = [sys.executable, "-m", "tests.unit.store.writer", bucket_store.uri, "measure", str(path)]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert 0 < int(told) < 80, f"{told} MiB for 128"


Setting = Callable[[pytest.MonkeyPatch, ObjectStore], object]
SETTINGS: dict[str, tuple[Setting, type[StoreError], int, str]] = {
    "no credentials": (
        lambda env, _: env.delenv("AWS_ACCESS_KEY_ID"),
        StoreError,
        ExitCode.BAD_CONFIG,
        "there are no credentials .* set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "half of the credentials": (
        lambda env, _: env.delenv("AWS_SECRET_ACCESS_KEY"),
        StoreError,
        ExitCode.BAD_CONFIG,
        "there are no credentials",
    ),
    "an unknown account": (
        lambda env, _: env.setenv("AWS_ACCESS_KEY_ID", "nobody"),
        NotPermitted,
        ExitCode.NOT_PERMITTED,
        "does not know the access key",
    ),
    "a wrong secret": (
        lambda env, _: env.setenv("AWS_SECRET_ACCESS_KEY", "guessed"),
        NotPermitted,
        ExitCode.NOT_PERMITTED,
        "the secret key is not that of the access key",
    ),
    "an unknown authority": (
        lambda env, _: env.delenv("AWS_CA_BUNDLE"),
        StoreError,
        ExitCode.BAD_CONFIG,
        "from an unknown authority.*AWS_CA_BUNDLE",
    ),
    "an authority that is not there": (
        lambda env, _: env.setenv("AWS_CA_BUNDLE", "/nowhere/ca.crt"),
        StoreError,
        ExitCode.BAD_CONFIG,
        "AWS_CA_BUNDLE",
    ),
    "another name than the certificate's": (
        lambda env, server: env.setenv("AWS_ENDPOINT_URL_S3", server.url.replace("127.0.0.1", "localhost")),
        StoreError,
        ExitCode.BAD_CONFIG,
        "for another name",
    ),
    "no TLS where the server has it": (
        lambda env, server: env.setenv("AWS_ENDPOINT_URL_S3", server.url.replace("https", "http")),
        Unavailable,
        ExitCode.UNAVAILABLE,
        "cannot be reached",
    ),
    "nobody at the address": (
        lambda env, _: env.setenv("AWS_ENDPOINT_URL_S3", "https://127.0.0.1:9"),
        Unavailable,
        ExitCode.UNAVAILABLE,
        r"cannot be reached.*workloads\.egress",
    ),
    "no address at all": (
        lambda env, _: env.setenv("AWS_ENDPOINT_URL_S3", "object-store"),
        StoreError,
        ExitCode.BAD_CONFIG,
        "settings of the object store's client",
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_wrong_settings_are_told_in_words(
    case: str,
    bucket_places: BucketPlaces,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    change, kind, code, words = SETTINGS[case]
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    change(monkeypatch, object_store)
    with caplog.at_level(logging.INFO), pytest.raises(StoreError, match=words) as caught:
        open_store(bucket_places.uri)
    assert (type(caught.value), caught.value.exit_code) == (kind, code)
    said = str(caught.value) + caplog.text
    assert not [secret for secret in (*object_store.accounts.values(), "guessed", "Signature=") if secret in said]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_an_hour_off_is_told(hours: int, bucket_places: BucketPlaces, object_store: ObjectStore) -> None:
    object_store.clock = lambda: datetime.now(UTC) + timedelta(hours=hours)
    try:
        with pytest.raises(StoreError, match=r"clock .* differ by too much \(RequestTimeTooSkewed\); set") as caught:
            open_store(bucket_places.uri)
    finally:
        object_store.clock = lambda: datetime.now(UTC)
    assert caught.value.exit_code == ExitCode.BAD_CONFIG


def test_a_bucket_that_is_not_there_is_told(object_store: ObjectStore) -> None:
    with pytest.raises(StoreError, match=r"s3://nobodys-bucket/a/layout\.json: there is no such bucket"):
        open_store("s3://nobodys-bucket/a")


def test_a_server_that_goes_away_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket_places: BucketPlaces
) -> None:
    with run_object_store(tmp_path) as server:
        for name, value in {**server.environment(), "AWS_MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
        store = open_store(bucket_places.uri)
        ref = store.publish_bytes(CONTENT, MediaType.MODEL)
    for attempt in (lambda: store.verify(ref.digest), lambda: store.publish_bytes({"a": b"b"}, MediaType.DATASET)):
        with pytest.raises(Unavailable, match="cannot be reached"):
            attempt()


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("QuotaExceeded", 403, NoSpace),
        ("", 507, NoSpace),
        ("AccessDenied", 403, NotPermitted),
        ("ExpiredToken", 400, NotPermitted),
        ("SlowDown", 503, Unavailable),
        ("InternalError", 500, Unavailable),
        ("NotImplemented", 501, StoreError),
        ("SomethingNew", 400, StoreError),
    ],
)
def test_answers_of_the_server_are_told_in_words(code: str, status: int, kind: type[StoreError]) -> None:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(StoreError, match=r"^s3://b/k: ") as caught, in_s3_words("s3://b/k"):
        raise ClientError(answer, "PutObject")
    assert type(caught.value) is kind
    assert (code or str(status)) in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "error",
    [
        ConnectTimeoutError(endpoint_url="https://x"),
        ReadTimeoutError(endpoint_url="https://x"),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        OSError("unplugged"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failures_of_the_network_may_pass(error: Exception) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"), in_s3_words("s3://b/k"):
        raise error
