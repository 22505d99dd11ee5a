"""A target that costs next to nothing: every request gets the same refusal after a fixed time.

Started by the evaluator's bench as a program, so that what is measured is the evaluator.
`python -m tests.support.quick_target PORT SECONDS`
"""

import asyncio
import sys
from typing import cast

import uvloop

_MODELS = b'{"data":[{"id":"quick","digest":"sha256:%b"}]}' % (b"1" * 64)
_REFUSAL = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"I can\'t help with that."}}]}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_LIST = _HEAD % (len(_MODELS), _MODELS)
_ANSWER = _HEAD % (len(_REFUSAL), _REFUSAL)


class _Connection(asyncio.Protocol):
    """One connection; a client sends its next request after the answer to the last."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer once a whole request is there."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(body) >= int(length or 0):
            self._received = b""
            self._loop.call_later(self._delay, self._answer, _LIST if head.startswith(b"GET") else _ANSWER)

    def _answer(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


async def _serve(port: int, delay: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(delay), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
