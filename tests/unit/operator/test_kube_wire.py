"""Calls over kept connections: an answer is whole or an error, and never that of another call."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_operator.kube.api.answers import Answer, Broken
from plumbline_operator.kube.api.wire import Connections, Stream

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n3;x=y\r\n:1}\r\n0\r\n\r\n'
TRAILED = CHUNKED.removesuffix(b"\r\n") + b"Expires: never\r\n\r\n"
EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
LAST = PLAIN.replace(b"Content-Type", b"Connection: close\r\nContent-Type")
OPEN = b"HTTP/1.1 200 OK\r\n\r\n{}"


@dataclass
class Server:
    """Answers every request with the same bytes, piece by piece."""

    port: int = 0
    pieces: Sequence[bytes] = ()
    hang_up: bool = False
    connections: int = 0
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers are given while it is set."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                assert head.startswith(b"GET /")
                self.asked.set()
                await self.hold.wait()
                for piece in self.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.hang_up:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def connect(self) -> Connections:
        return Connections(f"http://127.0.0.1:{self.port}", None)


@asynccontextmanager
async def serving(*pieces: bytes, hang_up: bool = False) -> AsyncIterator[tuple[Server, Connections]]:
    server = Server(pieces=pieces, hang_up=hang_up)
    server.hold.set()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    ours = server.connect()
    try:
        yield server, ours
    finally:
        ours.close()
        listening.close()


async def get(ours: Connections, target: str = "/x", total: float = 5.0) -> Answer:
    return await ours.ask("GET", target, {"Accept": "application/json"}, None, connect=5.0, total=total)


@pytest.mark.parametrize("text", [PLAIN, CHUNKED, TRAILED, EARLY, EMPTY])
async def test_an_answer_of_any_form_is_whole_and_the_connection_is_used_again(text: bytes) -> None:
    async with serving(text) as (server, ours):
        found = [await get(ours) for _ in range(3)]
        assert found[0] == found[1] == found[2]
        assert found[0].content == {CHUNKED: b'{"a":1}', TRAILED: b'{"a":1}', EMPTY: b""}.get(text, b"{}")
        assert server.connections == 1


@given(st.sampled_from([PLAIN, CHUNKED, TRAILED, EARLY]), st.lists(st.integers(1, 120), max_size=12))
def test_it_does_not_matter_in_which_pieces_an_answer_comes(text: bytes, cuts: list[int]) -> None:
    marks = [0, *sorted({cut for cut in cuts if cut < len(text)}), len(text)]
    pieces = [text[begin:end] for begin, end in pairwise(marks)]

    async def ask() -> None:
        async with serving(*pieces) as (_, ours):
            answer = await get(ours)
            assert answer.content in (b"{}", b'{"a":1}')
            assert answer.headers.get("content-length") in ("2", None)

    asyncio.run(ask())


@pytest.mark.parametrize(("text", "hang_up"), [(LAST, True), (LAST, False), (OPEN, True)])
async def test_a_connection_that_the_server_ends_is_not_used_again(text: bytes, *, hang_up: bool) -> None:
    async with serving(text, hang_up=hang_up) as (server, ours):
        assert [(await get(ours)).content for _ in range(2)] == [b"{}", b"{}"]
        assert server.connections == 2


@pytest.mark.parametrize("text", [b"", PLAIN[:20], PLAIN[:-1], CHUNKED[:-3], CHUNKED[:70]])
async def test_an_answer_that_breaks_off_is_an_error(text: bytes) -> None:
    async with serving(text, hang_up=True) as (_, ours):
        with pytest.raises(Broken):
            await get(ours)


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",
        CHUNKED.replace(b"4\r\n", b"four\r\n"),
        CHUNKED.replace(b"4\r\n", b"-4\r\n"),
        PLAIN + b"more",
        CHUNKED + b"more",
        b"x" * (1 << 17),
    ],
)
async def test_what_is_no_answer_is_an_error(text: bytes) -> None:
    async with serving(text) as (_, ours):
        with pytest.raises(Broken, match="no HTTP"):
            await get(ours)


async def test_nobody_gets_the_answer_to_a_call_that_was_given_up() -> None:
    async with serving(PLAIN) as (server, ours):
        server.hold.clear()
        with pytest.raises(TimeoutError):
            await get(ours, "/slow", total=0.05)
        server.hold.set()
        server.pieces = [CHUNKED]
        assert (await get(ours, "/next")).content == b'{"a":1}'
        assert server.connections == 2


async def test_calls_at_a_time_have_a_connection_each_and_the_next_ones_use_them() -> None:
    async with serving(PLAIN) as (server, ours):
        for _ in range(3):
            await asyncio.gather(*(get(ours) for _ in range(4)))
        assert server.connections == 4


async def test_a_header_cannot_smuggle_another() -> None:
    async with serving(PLAIN) as (server, ours):
        with pytest.raises(Broken, match="line break"):
            await ours.ask("GET", "/x", {"Authorization": "Bearer x\r\nX: y"}, None, connect=1, total=1)
        with pytest.raises(Broken, match="line break"):
            await get(ours, "/x\nX: y")
        assert server.connections == 0


async def test_when_it_is_closed_a_call_under_way_fails() -> None:
    async with serving(PLAIN) as (server, ours):
        server.hold.clear()
        call = asyncio.create_task(get(ours))
        await server.asked.wait()
        ours.close()
        with pytest.raises(Broken):
            await call


@asynccontextmanager
async def stream(ours: Connections, silence: float = 5.0, total: float = 5.0) -> AsyncIterator[Stream]:
    async with ours.stream("/x", {"Accept": "x"}, connect=5.0, silence=silence, total=total) as found:
        yield found


async def content_of(found: Stream) -> bytes:
    return b"".join([piece async for piece in found.pieces])


@pytest.mark.parametrize(("text", "hang_up"), [(PLAIN, False), (CHUNKED, False), (EARLY, False), (OPEN, True)])
async def test_a_stream_is_what_an_answer_would_be_and_its_connection_ends_with_it(
    text: bytes, *, hang_up: bool
) -> None:
    async with serving(*(text[at : at + 1] for at in range(len(text))), hang_up=hang_up) as (server, ours):
        for _ in range(2):
            async with stream(ours) as found:
                assert found.status == (201 if text == CHUNKED else 200)
                assert await content_of(found) == (b'{"a":1}' if text == CHUNKED else b"{}")
        assert server.connections == 2


async def test_what_a_stream_said_is_told_before_that_it_broke() -> None:
    async with serving(CHUNKED[:-13], hang_up=True) as (_, ours), stream(ours) as found:
        told = anext(found.pieces)
        assert await told == b'{"a"'
        with pytest.raises(Broken, match="closed"):
            await anext(found.pieces)


@pytest.mark.parametrize("text", [b"SSH-2.0-x\r\n\r\n", b"x" * (1 << 17), CHUNKED.replace(b"4\r\n", b"four\r\n")])
async def test_a_stream_of_something_else_is_an_error(text: bytes) -> None:
    async with serving(text) as (_, ours):
        with pytest.raises(Broken, match="no HTTP"):
            async with stream(ours) as found:
                await content_of(found)


@pytest.mark.parametrize("limits", [{"silence": 0.05}, {"total": 0.05}])
@pytest.mark.parametrize("text", [b"", CHUNKED[:70]])
async def test_a_stream_that_falls_silent_is_given_up(text: bytes, limits: dict[str, float]) -> None:
    async with serving(text) as (_, ours):
        with pytest.raises(TimeoutError):
            async with stream(ours, **limits) as found:
                await content_of(found)


async def test_a_stream_that_never_falls_silent_is_given_up_too() -> None:
    piece = b"1\r\nx\r\n"
    async with serving(CHUNKED.partition(b"4\r\n")[0], *[piece] * 1_000_000) as (_, ours):
        with pytest.raises(TimeoutError):
            async with stream(ours, total=0.1) as found:
                await content_of(found)


async def test_a_server_that_says_more_than_is_read_has_to_wait() -> None:
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    most = 1 << 24
    pieces = [CHUNKED.partition(b"4\r\n")[0], *[piece] * (most // 0x10000), b"0\r\n\r\n"]
    async with serving(*pieces) as (server, ours), stream(ours) as found:
        first = await anext(found.pieces)
        await asyncio.sleep(0.2)
        second = await anext(found.pieces)
        assert len(second) < most // 2
        rest = await content_of(found)
        assert len(first) + len(second) + len(rest) == most
        assert server.connections == 1


async def test_when_it_is_closed_a_stream_under_way_breaks() -> None:
    async with serving(CHUNKED[:70]) as (_, ours), stream(ours) as found:
        await anext(found.pieces)
        ours.close()
        with pytest.raises(Broken):
            await anext(found.pieces)
