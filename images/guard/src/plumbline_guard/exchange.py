"""One request and its answer on the wire: bounded reading, whole and streamed answers, errors at any moment.

Used by server.py, which knows what to say; this module knows how it is sent.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import orjson
from aiohttp import web

from plumbline_guard.errors import Failed, Refused
from plumbline_guard.events import written
from plumbline_guard.wording import error_body

__all__ = ["BLOCKED_HEADER", "REQUEST_ID_HEADER", "ClientGoneError", "Exchange", "json_response"]

BLOCKED_HEADER: Final = "x-plumbline-blocked"
"""On every answer that a rule replaced, with the rule's id, unless part of a stream had been sent."""
REQUEST_ID_HEADER: Final = "x-request-id"
_BODY_SECONDS: Final = 60
_AGAIN: Final = {429, 503}


class ClientGoneError(Exception):
    """Whoever asked does not listen any more."""


class Exchange:
    """One request, and the answer that is being given."""

    def __init__(self, request: web.BaseRequest, request_id: str, is_last: Callable[[], bool]) -> None:
        """`is_last` tells whether a stream that begins now has to be the last answer on its connection."""
        self._request = request
        self._is_last = is_last
        self._request_id = request_id
        self._stream: web.StreamResponse | None = None
        self.sent = 0
        """Bytes of the answer's body."""

    @property
    def started(self) -> bool:
        """Whether a streamed answer has begun, so that its status cannot change any more."""
        return self._stream is not None

    async def read(self, limit: int) -> bytes:
        """The request's body; raises Refused where it is too large or too slow, ClientGoneError where it ends."""
        too_large = Refused(413, "request_too_large", f"the request's body exceeds {limit} bytes; shorten it")
        if (self._request.content_length or 0) > limit:
            raise too_large
        pieces, size = [], 0
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                async for piece in self._request.content.iter_any():
                    pieces.append(piece)
                    size += len(piece)
                    if size > limit:
                        raise too_large
        except TimeoutError as error:
            raise Refused(408, "request_too_slow", f"the body did not arrive in {_BODY_SECONDS} s") from error
        except web.RequestPayloadError as error:
            raise Refused(400, "invalid_body", "the body's transfer or content encoding is broken") from error
        except ConnectionError as error:
            raise ClientGoneError from error
        return b"".join(pieces)

    async def write(self, data: bytes, *, blocked_by: str | None = None) -> None:
        """Send a piece of a streamed answer; the first one sends the head. Raises ClientGoneError."""
        if not data:
            return
        try:
            if self._stream is None:
                headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
                self._stream = web.StreamResponse(headers={**headers, **self._headers(blocked_by)})
                if self._is_last():
                    self._stream.force_close()
                await self._stream.prepare(self._request)
            await self._stream.write(data)
        except ConnectionError as error:
            raise ClientGoneError from error
        self.sent += len(data)

    async def finish(self) -> web.StreamResponse:
        """End a streamed answer."""
        if self._stream is None:
            raise Failed(502, "upstream_closed", "the engine gave no answer")
        try:
            await self._stream.write_eof()
        except ConnectionError as error:
            raise ClientGoneError from error
        return self._stream

    def whole(self, body: bytes, *, blocked_by: str | None = None) -> web.StreamResponse:
        """An answer in one piece."""
        self.sent += len(body)
        return json_response(body, headers=self._headers(blocked_by))

    async def tell(self, error: Refused | Failed) -> web.StreamResponse:
        """End with an error: a status where that is still possible, an error event otherwise."""
        body = error_body(error)
        if self.started:
            await self.write(written(body))
            return await self.finish()
        again = {"Retry-After": "1"} if error.status in _AGAIN else {}
        return json_response(body, status=error.status, headers={**self._headers(None), **again})

    def _headers(self, blocked_by: str | None) -> dict[str, str]:
        headers = {REQUEST_ID_HEADER: self._request_id}
        return {**headers, BLOCKED_HEADER: blocked_by} if blocked_by else headers


def json_response(body: bytes | object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    encoded = body if isinstance(body, bytes) else orjson.dumps(body)
    return web.Response(body=encoded, status=status, headers={"Content-Type": "application/json", **(headers or {})})
