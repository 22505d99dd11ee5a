"""Reporting: newest first, seldom, over a fresh connection, and never at the cost of the work."""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from plumbline_api.progress import Progress, read_report
from plumbline_store import Endpoint, FileReporter, Reporter, Silence, StatusReporter, reporter_from
from tests.cluster.pki import Authority
from tests.support.build import NOON


class Server(ThreadingHTTPServer):
    """Takes reports over TLS and answers as the test says, with the last answer again and again."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.authority = Authority(folder)
        pair = self.authority.issue("server", addresses=["127.0.0.1"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.token = folder / "token"
        self.token.write_text("first\n")
        self.answers: list[tuple[int, str]] = [(200, "")]
        self.got: list[tuple[float, str, int]] = []
        """Moment, token and percentage of each report."""

    @property
    def endpoint(self) -> Endpoint:
        url = f"https://127.0.0.1:{self.server_address[1]}/status"
        return Endpoint(url, self.token, self.authority.certificate)

    def percentages(self) -> list[int]:
        return [percentage for _, _, percentage in self.got]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = read_report(body, NOON).progress_percentage
        self.server.got.append((time.monotonic(), self.headers["Authorization"].removeprefix("Bearer "), told))
        answers = self.server.answers
        code, after = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(code)
        if after:
            self.send_header("Retry-After", after)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def at(percentage: int) -> Progress:
    return Progress(progress_percentage=percentage, last_updated_time=NOON)


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_first_goes_out_at_once_then_the_newest_and_the_last_at_once_again(server: Server) -> None:
    reporter = StatusReporter(server.endpoint, period=0.5)
    reporter.tell(at(1))
    until(lambda: server.got)
    for percentage in range(2, 30):
        reporter.tell(at(percentage))
    until(lambda: len(server.got) == 2)
    reporter.tell(at(100))
    reporter.close()
    assert server.percentages() == [1, 29, 100]
    (first, _, _), (second, _, _), (third, _, _) = server.got
    assert second - first >= 0.5
    assert third - second < 0.5
    reporter.tell(at(5))
    assert len(server.got) == 3


def test_the_token_is_read_anew_for_every_post(server: Server) -> None:
    reporter = StatusReporter(server.endpoint, period=0.05)
    reporter.tell(at(1))
    until(lambda: server.got)
    server.token.write_text("second")
    reporter.tell(at(2))
    reporter.close()
    assert [token for _, token, _ in server.got] == ["first", "second"]


def test_a_replica_that_does_not_listen_is_asked_again_soon(server: Server) -> None:
    server.answers = [(503, "0.1"), (503, "0.1"), (200, "")]
    reporter = StatusReporter(server.endpoint, period=30)
    reporter.tell(at(1))
    until(lambda: len(server.got) == 3)
    assert server.percentages() == [1, 1, 1]
    reporter.close()
    assert len(server.got) == 3


def test_the_last_is_tried_again_while_there_is_time(server: Server) -> None:
    server.answers = [(200, ""), (503, "0.1"), (200, "")]
    reporter = StatusReporter(server.endpoint, period=30)
    reporter.tell(at(1))
    until(lambda: server.got)
    reporter.tell(at(100))
    reporter.close()
    assert server.percentages() == [1, 100, 100]


def test_a_last_report_that_would_have_to_wait_too_long_is_let_go(server: Server) -> None:
    server.answers = [(429, "60")]
    reporter = StatusReporter(server.endpoint, period=30)
    reporter.tell(at(1))
    until(lambda: server.got)
    begun = time.monotonic()
    reporter.close()
    assert time.monotonic() - begun < 2
    assert len(server.got) <= 2


@pytest.mark.parametrize("code", [302, 307, 401, 413, 500])
def test_a_refusal_is_said_once_and_the_next_report_is_tried(
    server: Server, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    server.answers = [(code, "")]
    reporter = StatusReporter(server.endpoint, period=0.02)
    with caplog.at_level(logging.INFO):
        for percentage in (1, 2, 3):
            reporter.tell(at(percentage))
            until(lambda: server.percentages()[-1:] == [percentage])  # noqa: B023
        reporter.close()
    assert server.percentages() == [1, 2, 3], "no redirection is followed"
    assert [record.getMessage() for record in caplog.records] == [
        f"progress cannot be reported at the moment (HTTP {code}); the work goes on"
    ]


@pytest.mark.parametrize("fault", ["gone", "plain", "stranger", "no token"])
def test_an_endpoint_that_cannot_be_used_costs_a_line_and_no_time(
    server: Server, caplog: pytest.LogCaptureFixture, tmp_path: Path, fault: str
) -> None:
    given = server.endpoint
    port = server.server_address[1]
    reporter: Reporter = StatusReporter(
        {
            "gone": Endpoint("https://127.0.0.1:9/status", given.token, given.authority),
            "plain": Endpoint(f"http://127.0.0.1:{port}/status", given.token, given.authority),
            "stranger": Endpoint(given.url, given.token, Authority(tmp_path / "other").certificate),
            "no token": Endpoint(given.url, tmp_path / "none", given.authority),
        }[fault]
    )
    begun = time.monotonic()
    with caplog.at_level(logging.INFO):
        reporter.tell(at(1))
        reporter.close()
    assert time.monotonic() - begun < 3
    assert server.got == []
    (record,) = caplog.records
    assert "the work goes on" in record.getMessage()
    assert "first" not in record.getMessage(), "the token"


def test_a_reporter_that_was_never_told_anything_ends_at_once(server: Server) -> None:
    StatusReporter(server.endpoint).close()
    assert server.got == []


def test_the_environment_says_where_to_report(tmp_path: Path, server: Server) -> None:
    cluster = {
        "KUBEFLOW_TRAINER_SERVER_URL": server.endpoint.url,
        "KUBEFLOW_TRAINER_SERVER_TOKEN": str(server.token),
        "KUBEFLOW_TRAINER_SERVER_CA_CERT": str(server.authority.certificate),
    }
    assert reporter_from({}) == Silence()
    assert isinstance(reporter_from(cluster | {"PLUMBLINE_PROGRESS": str(tmp_path / "p")}), FileReporter)
    reporter = reporter_from(cluster)
    reporter.tell(at(4))
    reporter.close()
    assert server.percentages() == [4]
