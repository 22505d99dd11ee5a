"""HTTP/1.1 to one server as the operator needs it: calls on connections that are kept, and streams with one each.

Of the processor time that a run's children cost, aiohttp's client took more than half: 0.2 ms a call, where these
connections with llhttp's parser take a third of that; an event of a watch cost 0.1 ms there. Proxies stay with aiohttp
(`client`). Knows nothing of Kubernetes, repeats nothing: a call that fails has failed, whether or not the server has
carried it out.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar, cast
from urllib.parse import urlsplit

from plumbline_operator.kube.api.answers import Answer, AnswerReader, Broken

__all__ = ["Connections", "Stream"]

_MOST_HELD: Final = 1 << 20
"""Bytes of a stream that are kept for who reads it; a server that has more to say has to wait."""


@dataclass(frozen=True)
class Stream:
    """An answer that is read as it comes."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    pieces: AsyncIterator[bytes]
    """Its content in pieces of any length; raises OSError where it breaks off or falls silent."""


class Connections:
    """To one server; as many as there are calls and streams at a time."""

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
        self._idle: list[_Exchange] = []
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
        request = self._head(method, target, headers, body) + (body or b"")
        async with asyncio.timeout(total):
            connection = self._take() or await self._connect(connect, _Exchange)
            try:
                answer = await connection.exchange(request)
            except BaseException:
                # Whoever would use it next must not get this answer.
                connection.abort()
                raise
        if connection.kept:
            self._idle.append(connection)
        return answer

    @asynccontextmanager
    async def stream(
        self, target: str, headers: Mapping[str, str], *, connect: float, silence: float, total: float
    ) -> AsyncIterator[Stream]:
        """GET what is read as it comes, on a connection that ends with it.

        Args:
            target: Path and query, encoded.
            headers: Without Host.
            connect: Seconds after which a server that does not take the connection is given up.
            silence: Seconds after which one that says nothing is.
            total: Seconds after which it is, whatever it says.

        Raises:
            OSError: No connection, or nothing in time (TimeoutError), or not to its end (Broken).
        """
        request = self._head("GET", target, headers, None)
        connection = await self._connect(connect, _Streaming)
        try:
            yield await connection.begin(request, silence, total)
        finally:
            connection.abort()

    def close(self) -> None:
        """Drop all connections; calls that are under way fail."""
        for connection in tuple(self._open):
            connection.abort()
        self._idle.clear()

    def _head(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        lines = [f"{method} {self._prefix}{target} HTTP/1.1", f"Host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join((*lines, "", "")).encode("latin-1")
        if head.count(b"\n") != len(lines) + 1:
            raise Broken("there is a line break in a header")
        return head

    def _take(self) -> "_Exchange | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.kept:
                return connection
        return None

    async def _connect(self, seconds: float, make: "Callable[[_Peers], _C]") -> "_C":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            _, connection = await loop.create_connection(
                lambda: make(self._open), self._host, self._port, ssl=self._tls
            )
        return connection


class _Connection(asyncio.Protocol):
    """One connection, known to its peers while it stands."""

    def __init__(self, peers: "_Peers") -> None:
        self._peers = peers
        self._loop = asyncio.get_running_loop()
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """End it without a word."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, request: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise Broken("the connection was closed")
        self._transport.write(request)

    # Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast(asyncio.Transport, transport)
        self._peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._peers.discard(self)
        self._reader.end()


class _Exchange(_Connection):
    """An exchange, and then perhaps another one."""

    kept = False
    """Whether another exchange is possible."""
    _answer: asyncio.Future[Answer] | None = None

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and wait for the whole answer."""
        self.kept = False
        self._answer, self._reader = self._loop.create_future(), AnswerReader()
        self._write(request)
        return await self._answer

    def abort(self) -> None:
        """End it without a word."""
        self.kept = False
        super().abort()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self._answer is None or self._answer.done():
            self.abort()
            return
        try:
            self._reader.feed(data)
        except Broken as error:
            self._fail(error)
            return
        if self._reader.whole:
            self.kept = self._reader.kept
            self._answer.set_result(self._reader.take())
            if not self.kept:
                self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        self.kept = False
        if self._reader.whole and self._answer is not None and not self._answer.done():
            self._answer.set_result(self._reader.take())
        self._fail(Broken("the server closed the connection"))

    def _fail(self, error: Broken) -> None:
        self.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class _Streaming(_Connection):
    """One exchange, whose answer is taken piece by piece."""

    def __init__(self, peers: "_Peers") -> None:
        super().__init__(peers)
        self._news = asyncio.Event()
        self._failure: Broken | None = None
        self._paused = False

    async def begin(self, request: bytes, silence: float, total: float) -> Stream:
        """Send the request and wait for the head of the answer."""
        end = self._loop.time() + total
        self._write(request)
        while not self._reader.begun:
            await self._more(silence, end)
        head = self._reader.take()
        return Stream(head.status, head.headers, self._pieces(head.content, silence, end))

    async def _pieces(self, first: bytes, silence: float, end: float) -> AsyncIterator[bytes]:
        if first:
            yield first
        while True:
            while self._reader.held:
                if self._loop.time() > end:
                    raise TimeoutError
                content = self._reader.take().content
                self._let_go_on()
                yield content
            if self._reader.whole:
                return
            await self._more(silence, end)

    async def _more(self, silence: float, end: float) -> None:
        if self._failure is not None:
            raise self._failure
        self._news.clear()
        async with asyncio.timeout_at(min(self._loop.time() + silence, end)):
            await self._news.wait()

    def _let_go_on(self) -> None:
        if self._paused and self._transport is not None:
            self._transport.resume_reading()
        self._paused = False

    def data_received(self, data: bytes) -> None:
        """Something came."""
        try:
            self._reader.feed(data)
        except Broken as error:
            self._failure = error
            self.abort()
        if self._reader.held > _MOST_HELD and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        if not self._reader.whole and self._failure is None:
            self._failure = Broken("the server closed the connection")
        self._news.set()


_Peers = set[_Connection]
_C = TypeVar("_C", bound=_Connection)
