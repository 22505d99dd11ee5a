"""Telling how far a program is: lines of a file on one machine, posts to the operator's status endpoint in a cluster.

Used by trainer and evaluator. Progress is worth less than the work: whatever goes wrong here is logged once and never
raised, and posting happens beside the work, in a thread. It lives here because the contract does no I/O and the
programs do not know each other.
"""

import http.client
import logging
import os
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from plumbline_api.names import ENV_PROGRESS, ENV_STATUS_AUTHORITY, ENV_STATUS_TOKEN, ENV_STATUS_URL
from plumbline_api.progress import Progress, report_body

__all__ = ["Endpoint", "FileReporter", "Reporter", "Silence", "StatusReporter", "reporter_from"]

log = logging.getLogger(__name__)

_PERIOD: Final = 5.0
"""Seconds between two posts; the first and the last are made at once."""
_TIMEOUT: Final = 5.0
"""Seconds for each step of a post, and for the last one altogether."""
_LONGEST_PAUSE: Final = 60.0
_BUSY: Final = (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE)


class Reporter(Protocol):
    """Where progress goes."""

    def tell(self, progress: Progress) -> None:
        """Take the newest; returns at once and never raises."""

    def close(self) -> None:
        """Let the newest go out, for a few seconds at most; afterwards nothing is taken any more."""


@dataclass(frozen=True)
class Silence:
    """Nobody looks."""

    def tell(self, progress: Progress) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class FileReporter:
    """Appends a line for each; a display may tail the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._given_up = False

    def tell(self, progress: Progress) -> None:
        """Append a line."""
        if self._given_up:
            return
        line = progress.model_dump_json(by_alias=True, exclude_none=True) + "\n"
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.write(self._file, line.encode())
        except OSError as error:
            self._given_up = True
            log.warning("%s: progress is not told any more (%s)", self._path, error.strerror)

    def close(self) -> None:
        """Close the file."""
        self._given_up = True
        if self._file is not None:
            os.close(self._file)
            self._file = None


@dataclass(frozen=True)
class Endpoint:
    """A status endpoint, as a pod is told of it."""

    url: str
    """Where to post; only https is spoken."""
    token: Path
    """Read for every post: it is renewed while the program runs."""
    authority: Path | None = None
    """The certificate to trust; None trusts what the system trusts."""


class StatusReporter:
    """Posts the newest report, every few seconds at most, in a thread of its own."""

    def __init__(self, endpoint: Endpoint, *, period: float = _PERIOD) -> None:
        self._endpoint = endpoint
        self._period = period
        self._changed = threading.Condition()
        self._newest: Progress | None = None
        self._deadline: float | None = None
        """When a reporter that is being closed gives up."""
        self._complained = False
        # A daemon, so that a name server that does not answer keeps no program from ending.
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def tell(self, progress: Progress) -> None:
        """Leave it for the thread; what it has not posted yet is forgotten."""
        with self._changed:
            if self._deadline is not None:
                return
            self._newest = progress
            if not self._thread.is_alive():
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Post what is left, without waiting for its turn."""
        with self._changed:
            self._deadline = time.monotonic() + _TIMEOUT
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(_TIMEOUT)

    def _run(self) -> None:
        turn = 0.0
        while (progress := self._next(turn)) is not None:
            pause = self._post(progress)
            turn = time.monotonic() + (self._period if pause is None else pause)
            if pause is not None:
                self._take_back(progress, turn)

    def _next(self, turn: float) -> Progress | None:
        """The newest, once it is its turn; None where there is nothing left to do."""
        with self._changed:
            while self._deadline is None and (self._newest is None or time.monotonic() < turn):
                self._changed.wait(None if self._newest is None else turn - time.monotonic())
            progress, self._newest = self._newest, None
            return progress

    def _take_back(self, progress: Progress, turn: float) -> None:
        """Keep for the next turn what nobody took, unless there is something newer, or no time left."""
        with self._changed:
            if self._deadline is not None:
                if turn > self._deadline:
                    return
                self._changed.wait(turn - time.monotonic())
            self._newest = self._newest or progress

    def _post(self, progress: Progress) -> float | None:
        """Post once; gives the seconds after which to post it again, or None where that would be useless."""
        try:
            status, wait = self._ask(report_body(progress))
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._complain(type(error).__name__)
            return None
        if status in _BUSY:
            # Behind one address there may be several replicas, of which one listens.
            return wait
        if status != http.client.OK:
            self._complain(f"HTTP {status}")
        return None

    def _ask(self, body: bytes) -> tuple[int, float]:
        """One post over a connection of its own: no proxy, no redirection, which would carry the token elsewhere."""
        place = urlsplit(self._endpoint.url)
        if place.scheme != "https" or place.hostname is None:
            raise ValueError("the status endpoint is no https URL")
        token = self._endpoint.token.read_text(encoding="ascii").strip()
        authority = self._endpoint.authority
        context = ssl.create_default_context(cafile=None if authority is None else str(authority))
        connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=_TIMEOUT, context=context)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Connection": "close"}
        try:
            connection.request("POST", place.path, body, headers)
            answer = connection.getresponse()
            return answer.status, _seconds(answer.getheader("Retry-After"))
        finally:
            connection.close()

    def _complain(self, fact: str) -> None:
        if not self._complained:
            self._complained = True
            log.warning("progress cannot be reported at the moment (%s); the work goes on", fact)


def reporter_from(environment: Mapping[str, str]) -> Reporter:
    """The reporter that an environment asks for: a file, else a status endpoint, else nobody looks."""
    if file := environment.get(ENV_PROGRESS):
        return FileReporter(Path(file))
    url, token = environment.get(ENV_STATUS_URL), environment.get(ENV_STATUS_TOKEN)
    if not url or not token:
        return Silence()
    authority = environment.get(ENV_STATUS_AUTHORITY)
    return StatusReporter(Endpoint(url, Path(token), Path(authority) if authority else None))


def _seconds(text: str | None) -> float:
    try:
        return min(max(float(text or 1), 0.1), _LONGEST_PAUSE)
    except ValueError:
        return 1.0
