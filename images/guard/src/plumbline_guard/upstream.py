"""The engine behind the guard: is it healthy, does it serve the right model, and its answers.

Whatever goes wrong on the way becomes Failed. The engine's own words stay here: only its status and codes from
OpenAI's vocabulary are told on. Used by server.py.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import aiohttp
import orjson

from plumbline_guard.errors import Failed, GuardError, Refused

__all__ = ["Engine", "Readiness", "ReadyState", "connect", "read_whole"]

_PROBE: Final = aiohttp.ClientTimeout(total=3)
_CHAT: Final = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=600)
_KEEP_SECONDS: Final = 4
"""Less than the 5 s after which common engines close an idle connection, so that none is used while it closes."""
_LARGEST_ANSWER: Final = 16_777_216
_TOLD_ON: Final = frozenset(
    {"context_length_exceeded", "unsupported_parameter", "unsupported_value", "invalid_request"}
)
_PARAM: Final = re.compile(r"[a-z_]{1,40}")


class ReadyState(StrEnum):
    """What is known of the engine."""

    UNKNOWN = "unknown"
    READY = "ready"
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    """It did not answer in time."""
    UNHEALTHY = "unhealthy"
    OTHER_MODEL = "other_model"


@dataclass(frozen=True)
class Readiness:
    """The outcome of looking."""

    state: ReadyState
    model: str = ""
    """The engine's own name for the model."""

    @property
    def ready(self) -> bool:
        """Whether requests may be passed on."""
        return self.state is ReadyState.READY


class Engine:
    """One engine at one address, which must serve one subject."""

    def __init__(self, session: aiohttp.ClientSession, address: str, subject: str) -> None:
        self._session = session
        self._address = address
        self._subject = subject
        self._looking = asyncio.Lock()
        self._looks = 0
        self._trusted: str | None = None
        self.readiness = Readiness(ReadyState.UNKNOWN)

    async def look(self) -> Readiness:
        """Ask the engine how it is, now; whoever waits for another's look takes its outcome."""
        before = self._looks
        async with self._looking:
            if self._looks == before:
                self._note(await self._look())
                self._looks += 1
        return self.readiness

    async def require_ready(self) -> str:
        """The engine's name for the model, once it is known to be the right one; raises Failed."""
        if self._trusted is not None:
            return self._trusted
        match (await self.look()).state:
            case ReadyState.READY:
                return self.readiness.model
            case ReadyState.UNREACHABLE | ReadyState.SILENT:
                raise Failed(502, "upstream_unreachable", "the engine cannot be reached")
            case ReadyState.OTHER_MODEL:
                raise Failed(503, "wrong_model", "the engine does not serve the model that this guard was made for")
        raise Failed(503, "upstream_not_ready", "the engine is not ready")

    @asynccontextmanager
    async def chat(self, payload: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer with status 200, to be read within; raises Failed or Refused."""
        url, headers = f"{self._address}/v1/chat/completions", {"Content-Type": "application/json"}
        try:
            async with self._session.post(url, data=payload, headers=headers, timeout=_CHAT) as response:
                if response.status != 200:
                    raise _refusal(response.status, await read_whole(response))
                yield response
        except aiohttp.ClientConnectorError as error:
            self._note(Readiness(ReadyState.UNREACHABLE))
            raise Failed(502, "upstream_unreachable", "the engine cannot be reached") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            self._note(Readiness(ReadyState.UNKNOWN))
            raise Failed(502, "upstream_closed", "the engine broke off") from error

    def _note(self, seen: Readiness) -> None:
        """An engine too busy to answer a look is still the one that was seen; any other bad news ends the trust."""
        self.readiness = seen
        if seen.state is not ReadyState.SILENT:
            self._trusted = seen.model if seen.ready else None

    async def _look(self) -> Readiness:
        try:
            if not await self._healthy():
                return Readiness(ReadyState.UNHEALTHY)
            served = await self._served()
        except TimeoutError:
            return Readiness(ReadyState.SILENT)
        except aiohttp.ClientError:
            return Readiness(ReadyState.UNREACHABLE)
        if served and {digest for _, digest in served} == {self._subject}:
            return Readiness(ReadyState.READY, served[0][0])
        return Readiness(ReadyState.OTHER_MODEL)

    async def _healthy(self) -> bool:
        async with self._session.get(f"{self._address}/health", timeout=_PROBE) as health:
            return health.status == 200

    async def _served(self) -> list[tuple[str, object]]:
        async with self._session.get(f"{self._address}/v1/models", timeout=_PROBE) as models:
            return _served(await read_whole(models)) if models.status == 200 else []


@asynccontextmanager
async def connect(address: str, subject: str) -> AsyncIterator[Engine]:
    """An engine, with its connections kept open within."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_SECONDS)
    plain = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(connector=connector, headers=plain, trust_env=False) as session:
        yield Engine(session, address, subject)


async def read_whole(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer that is not streamed; raises Failed when it is too large."""
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > _LARGEST_ANSWER:
            raise Failed(502, "upstream_invalid", "the engine sent an answer that is too large")
    return b"".join(pieces)


def _served(raw: bytes) -> list[tuple[str, object]]:
    """Names and digests of the models that the engine lists.

    An engine that knows no digests serves the model under its digest as a name.
    """
    try:
        listed = orjson.loads(raw)["data"]
        return [(str(model["id"]), model.get("digest", model["id"])) for model in listed]
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return []


def _refusal(status: int, raw: bytes) -> GuardError:
    """What the client is told about an answer that is none."""
    if status == 429:
        return Refused(429, "upstream_busy", "the engine is busy; try again")
    if status == 503:
        return Failed(503, "upstream_not_ready", "the engine is not ready")
    if status not in (400, 413, 422):
        return Failed(502, "upstream_error", f"the engine answered with status {status}")
    error = _error(raw)
    code, param = error.get("code"), error.get("param")
    known = code if code in _TOLD_ON else "upstream_refused"
    about = param if isinstance(param, str) and _PARAM.fullmatch(param) else None
    return Refused(400, known, f"the engine refuses the request ({known}{f': {about}' if about else ''})", param=about)


def _error(raw: bytes) -> dict[str, Any]:
    try:
        error = orjson.loads(raw).get("error")
    except (orjson.JSONDecodeError, AttributeError):
        return {}
    return error if isinstance(error, dict) else {}
