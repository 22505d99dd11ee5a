"""An engine that costs nearly nothing, for benches: one fixed answer, as a program of its own.

`python -m tests.support.flat_engine` prints its port and serves until it is killed. HTTP as far as the bench speaks it.
"""

import asyncio
import re
import sys
from typing import cast

import orjson
import uvloop

from tests.support.upstream import DIGEST, Script, answer_bytes, event_bytes

WORDS = "Your task has been created and I will remind you of it tomorrow morning at nine. ".split(" ")
SCRIPT = Script(deltas=[f"{word} " for word in WORDS * 4][:64])
EVENTS = event_bytes(SCRIPT)


def _head(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


WHOLE = _head(answer_bytes(SCRIPT))
MODELS = _head(orjson.dumps({"data": [{"id": "flat", "digest": DIGEST}]}))
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class FlatEngine(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class says nothing of it
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length is not None and len(body) < int(length.group(1)):
            return
        self._buffer = b""
        if head.startswith(b"GET"):
            self._transport.write(MODELS)
        elif b'"stream":true' in body:
            self._transport.write(STREAM_HEAD)
            self._next(0)
        else:
            self._transport.write(WHOLE)

    def _next(self, number: int) -> None:
        if self._transport.is_closing():
            return
        if number == len(EVENTS):
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(_chunked(EVENTS[number]))
        asyncio.get_running_loop().call_soon(self._next, number + 1)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(FlatEngine, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
