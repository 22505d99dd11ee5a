"""HTTP/1.1 to one server as the operator's calls need it: connections that are kept, one request at a time on each.

Of the processor time that a run's children cost, aiohttp's client took more than half: 0.2 ms a call, where these
connections with llhttp's parser take a third of that. Watches and proxies stay with aiohttp (`client`). Knows nothing
of Kubernetes, repeats nothing: a call that fails has failed, whether or not the server has carried it out.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

__all__ = ["Answer", "Broken", "Connections"]

_LONGEST_HEAD: Final = 1 << 16
_FIRST_FINAL: Final = 200
"""Lower codes announce an answer."""


class Broken(ConnectionError):
    """The connection ended before the answer did, or what came is no HTTP."""


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    content: bytes


class Connections:
    """To one server; as many as there are calls at a time."""

    def __init__(self, server: str, tls: ssl.SSLContext | None) -> None:
        """Connect with the first call.

        Args:
            server: Its URL, without a path.
            tls: Whom to trust and what to show; None where the URL's scheme is http.
        """
        url = urlsplit(server)
        self._host, self._tls = url.hostname or "", tls
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._authority = url.netloc
        self._prefix = url.path
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, *, connect: float, total: float
    ) -> Answer:
        """Make one call.

        Args:
            method: Such as GET.
            target: Path and query, encoded.
            headers: Without Host and Content-Length.
            body: What is sent; None for nothing.
            connect: Seconds after which a server that does not take the connection is given up.
            total: Seconds after which the call is.

        Raises:
            OSError: No connection, or no answer in time (TimeoutError), or not to its end (Broken).
        """
        lines = [f"{method} {self._prefix}{target} HTTP/1.1", f"Host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join((*lines, "", "")).encode("latin-1")
        if head.count(b"\n") != len(lines) + 1:
            raise Broken("there is a line break in a header")
        async with asyncio.timeout(total):
            connection = self._take() or await self._connect(connect)
            try:
                answer = await connection.exchange(head + (body or b""))
            except BaseException:
                # Whoever would use it next must not get this answer.
                connection.abort()
                raise
        if connection.kept:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Drop all connections; calls that are under way fail."""
        for connection in tuple(self._open):
            connection.abort()
        self._idle.clear()

    def _take(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.kept:
                return connection
        return None

    async def _connect(self, seconds: float) -> "_Connection":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            _, connection = await loop.create_connection(
                lambda: _Connection(loop, self._open), self._host, self._port, ssl=self._tls
            )
        return connection


class _Connection(asyncio.Protocol):
    """One connection: an exchange, and then perhaps another one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peers: "set[_Connection]") -> None:
        self.kept = False
        """Whether another exchange is possible."""
        self._loop, self._peers = loop, peers
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._reader = _Reader()

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and wait for the whole answer."""
        if self._transport is None or self._transport.is_closing():
            raise Broken("the connection was closed")
        self.kept = False
        self._answer, self._reader = self._loop.create_future(), _Reader()
        self._transport.write(request)
        return await self._answer

    def abort(self) -> None:
        """End it without a word."""
        self.kept = False
        if self._transport is not None:
            self._transport.abort()

    # Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast(asyncio.Transport, transport)
        self._peers.add(self)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self._answer is None or self._answer.done():
            self.abort()
            return
        try:
            answer = self._reader.feed(data)
        except ValueError as error:
            self._fail(Broken(f"the answer is no HTTP ({error})"))
            return
        if answer is not None:
            self.kept = self._reader.kept
            self._answer.set_result(answer)
            if not self.kept:
                self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._peers.discard(self)
        self.kept = False
        whole = self._reader.end()
        if whole is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(whole)
        self._fail(Broken("the server closed the connection"))

    def _fail(self, error: Broken) -> None:
        self.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class _Reader:
    """Collects one answer of what llhttp finds in the pieces that come (RFC 9112)."""

    def __init__(self) -> None:
        self.kept = False
        """Whether the server goes on with the connection after this answer."""
        self._parser = HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._content: list[bytes] = []
        self._head = 0
        self._begun = self._whole = False

    def feed(self, data: bytes) -> Answer | None:
        """Take a piece; the answer, once it is whole. Raises ValueError where it cannot be one."""
        if not self._begun:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserCallbackError) as error:
            raise ValueError(type(error).__name__) from error
        if not self._begun and self._head > _LONGEST_HEAD:
            raise ValueError("its head does not end")
        return self._made() if self._whole else None

    def end(self) -> Answer | None:
        """The answer, where the end of the connection is its end."""
        unbounded = not {"content-length", "transfer-encoding"} & self._headers.keys()
        return self._made() if self._begun and unbounded else None

    def _made(self) -> Answer:
        return Answer(self._parser.get_status_code(), self._headers, b"".join(self._content))

    # Called by the parser

    def on_message_begin(self) -> None:
        """An answer begins; a second one was not asked for."""
        if self._whole:
            raise ValueError("it is longer than it said")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which says nothing that is wanted."""
        if not self._begun:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole; that of an early answer is followed by another one."""
        self._begun = self._parser.get_status_code() >= _FIRST_FINAL

    def on_body(self, body: bytes) -> None:
        """A part of the content."""
        self._content.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._begun:
            self._whole, self.kept = True, self._parser.should_keep_alive()
        self._headers = self._headers if self._begun else {}
