"""An object store for tests: moto's S3 behind TLS of its own authority, in front of it what moto leaves out.

That is: accounts whose signatures are verified, a clock that requests must agree with, and faults. What is below speaks
the real protocol over real sockets, so other processes may use it as well. Run by itself it prints what a client's
environment needs: `python -m tests.support.objectstore FOLDER`.
"""

import os
import re
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from plumbline_operator.kube.progress.issuing import issue, make_authority

__all__ = ["Asked", "ObjectStore", "Refusal", "run_object_store"]

_UPLOADS = {("POST", "uploads"), ("POST", "uploads="), ("GET", "uploads"), ("GET", "uploads=")}
LOOSE = timedelta(minutes=15)
Answer = Callable[[str, list[tuple[str, str]]], Any]


@dataclass(frozen=True)
class Asked:
    """A request, as far as faults look at it."""

    method: str
    path: str
    query: str
    number: int
    """How many came before it."""


@dataclass(frozen=True)
class Refusal:
    """What is answered in place of moto's answer; without a code the connection ends in the middle of moto's answer."""

    status: str = "200 OK"
    code: str = ""

    def body(self) -> bytes:
        """As S3 says it."""
        return f'<?xml version="1.0"?><Error><Code>{self.code}</Code><Message>no</Message></Error>'.encode()


Fault = Callable[[Asked], Refusal | None]


def no_fault(_: Asked) -> Refusal | None:
    """Let every request through."""
    return None


@dataclass
class ObjectStore:
    """A server; `fault` may be changed at any time."""

    url: str
    authority: Path
    accounts: dict[str, str] = field(default_factory=lambda: {"plumbline": "a-secret-of-forty-letters-and-then-some"})
    fault: Fault = no_fault
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    requests: list[Asked] = field(default_factory=list)
    begun: dict[str, datetime] = field(default_factory=dict)
    """When each upload in parts was begun, by its id."""
    down: bool = False
    """Whether connections that are open already are cut as well."""
    stop: Callable[[], None] = lambda: None
    """Go away, with what is kept; also from within a fault."""
    start: Callable[[], None] = lambda: None
    """Come back at the same address, with the same certificate."""

    def environment(self, account: str = "plumbline") -> Mapping[str, str]:
        """What a client needs, and nothing of this machine's own settings."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_CA_BUNDLE": str(self.authority),
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": self.accounts[account],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


@contextmanager
def run_object_store(folder: Path, port: int = 0, host: str = "127.0.0.1") -> Iterator[ObjectStore]:
    """A server for as long as the block lasts; its certificates lie in the folder."""
    now = datetime.now(UTC)
    pair = make_authority(now)
    served = issue(pair, [host], now)
    (folder / "ca.crt").write_text(pair["certificate"])
    (folder / "tls.crt").write_text(served["certificate"])
    (folder / "tls.key").write_text(served["key"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    store = ObjectStore("", folder / "ca.crt")
    front = _Front(store, DomainDispatcherApplication(create_backend_app))
    serving: list[tuple[BaseWSGIServer, threading.Thread]] = []

    def start() -> None:
        where = urlsplit(store.url).port or port
        server = make_server(host, where, front, threaded=True, request_handler=_Quiet, ssl_context=context)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        store.url, store.down = f"https://{host}:{server.server_port}", False
        serving.append((server, thread))
        thread.start()

    def stop() -> None:
        store.down = True
        while serving:
            server, thread = serving.pop()
            server.shutdown()
            thread.join()
            server.server_close()

    store.start, store.stop = start, stop
    start()
    try:
        yield store
    finally:
        stop()


class _Quiet(MotoRequestHandler):
    """Says nothing, also not of clients that hang up."""

    def log(self, type: str, message: str, *args: object) -> None:
        pass

    def run_wsgi(self) -> None:
        try:
            super().run_wsgi()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        self.close_connection = True


class _HangUp(ConnectionError):
    """Ends a connection in the middle."""


class _Front:
    """The program between the socket and moto."""

    def __init__(self, store: ObjectStore, behind: Callable[[dict[str, Any], Answer], Iterable[bytes]]) -> None:
        self._store = store
        self._behind = behind
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Answer) -> Iterable[bytes]:
        if self._store.down:
            raise _HangUp
        with self._lock:
            asked = Asked(
                environ["REQUEST_METHOD"],
                environ["PATH_INFO"],
                environ.get("QUERY_STRING", ""),
                len(self._store.requests),
            )
            self._store.requests.append(asked)
        refusal = self._check(environ) or self._store.fault(asked)
        if refusal is None and (asked.method, asked.query.partition("&")[0]) in _UPLOADS:
            return self._dated(environ, start)
        if refusal is None:
            return self._behind(environ, start)
        if not refusal.code:
            return _half(self._behind(environ, start))
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(refusal.status, [("Content-Type", "application/xml"), ("Content-Length", str(len(refusal.body())))])
        return [refusal.body()]

    def _dated(self, environ: dict[str, Any], start: Answer) -> Iterable[bytes]:
        """Moto's answer about uploads in parts, in which all were begun in 2010."""
        told: list[Any] = []
        text = b"".join(self._behind(environ, lambda *head: told.extend(head))).decode()
        for upload in re.findall("<UploadId>([^<]+)<", text):
            begun = self._store.begun.setdefault(upload, self._store.clock()).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            text = re.sub(rf"({re.escape(upload)}</UploadId>.*?<Initiated>)[^<]*", rf"\g<1>{begun}", text, flags=re.S)
        start(told[0], [(name, value) for name, value in told[1] if name.lower() != "content-length"])
        return [text.encode()]

    def _check(self, environ: dict[str, Any]) -> Refusal | None:
        """What S3 looks at before anything else: the date, the account, the signature."""
        try:
            parts = environ["HTTP_AUTHORIZATION"].split(" ", 1)[1].split(",")
            given = dict(part.strip().split("=", 1) for part in parts)
            account, _, region, _, _ = given["Credential"].split("/")
        except (KeyError, ValueError, IndexError):
            return Refusal("403 Forbidden", "AccessDenied")
        stamp = environ.get("HTTP_X_AMZ_DATE", "")
        if abs(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) - self._store.clock()) > LOOSE:
            return Refusal("403 Forbidden", "RequestTimeTooSkewed")
        if account not in self._store.accounts:
            return Refusal("403 Forbidden", "InvalidAccessKeyId")
        if self._sign(environ, account, region, stamp, given["SignedHeaders"].split(";")) != given["Signature"]:
            return Refusal("403 Forbidden", "SignatureDoesNotMatch")
        return None

    def _sign(self, environ: dict[str, Any], account: str, region: str, stamp: str, signed: list[str]) -> str:
        """The signature that this account's secret makes."""
        keys = SimpleNamespace(access_key=account, secret_key=self._store.accounts[account], token=None)
        headers = {name: _header(environ, name) for name in signed}
        uri = environ.get("REQUEST_URI") or environ["RAW_URI"]
        request = AWSRequest(environ["REQUEST_METHOD"], f"https://{environ['HTTP_HOST']}{uri}", headers=headers)
        request.context["timestamp"] = stamp
        auth = S3SigV4Auth(keys, "s3", region)
        return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


def _header(environ: dict[str, Any], name: str) -> str:
    variable = name.upper().replace("-", "_")
    return str(environ[variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"])


def _half(answer: Iterable[bytes]) -> Iterator[bytes]:
    whole = b"".join(answer)
    yield whole[: len(whole) // 2]
    raise _HangUp


def main(folder: str) -> None:
    """Serve until the input ends."""
    with run_object_store(Path(folder)) as store:
        for name, value in store.environment().items():
            sys.stdout.write(f"export {name}={value}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
