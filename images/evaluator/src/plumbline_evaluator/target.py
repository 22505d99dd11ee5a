"""The subject of an evaluation: one model behind an OpenAI-compatible endpoint.

Asked by conversation.py and runner.py. Knows the wire format and what each failure means; repeating a request is
left to conversation.py. Requests share one session, and their constant parts are encoded once.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from plumbline_evaluator.errors import NotPermitted, Unavailable, WrongSubject

__all__ = ["Message", "RequestFailed", "Sampling", "Target"]

Message = dict[str, str]
"""`role` and `content`, as the wire has them."""

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_DENIED = frozenset({401, 403})
_LONGEST_HINT = 30.0
_POLL_SECONDS = 0.25


class RequestFailed(Exception):
    """One request brought no answer. The message holds no part of the conversation."""

    def __init__(self, fact: str, *, transient: bool, wait: float = 0.0) -> None:
        super().__init__(fact)
        self.transient = transient
        """Whether the same request may succeed later."""
        self.wait = wait
        """Seconds the target asks us to wait."""


@dataclass(frozen=True)
class Sampling:
    """How the subject is to answer."""

    max_tokens: int
    temperature: float
    timeout: float
    """Seconds for one answer."""
    seed: int
    connections: int


class Target:
    """An open session with the endpoint; use it as an async context manager."""

    def __init__(self, url: str, sampling: Sampling) -> None:
        root = url.rstrip("/")
        self._models = URL(f"{root}/models")
        self._completions = URL(f"{root}/chat/completions")
        self._sampling = sampling
        self._session: aiohttp.ClientSession
        self._options: dict[str, Any] = {}
        self._limit = aiohttp.ClientTimeout(total=sampling.timeout)

    async def __aenter__(self) -> Self:
        """Open the session: one connection per case at work, no cookies."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._sampling.connections, keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept"),
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self._session.close()

    async def wait_for(self, digest: str, seconds: float) -> None:
        """Wait until the endpoint answers, and check that it serves this model and no other.

        Raises:
            Unavailable: nothing useful came within the time.
            WrongSubject: it serves something else.
            NotPermitted: it does not let us in.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            try:
                await self.check(digest)
            except RequestFailed as failure:
                if not failure.transient or loop.time() >= deadline:
                    waited = f" (waited {seconds:g} s)" if failure.transient else ""
                    raise Unavailable(
                        f"target {self._models}: {failure}{waited}; "
                        "look at the log of the engine beside this evaluation"
                    ) from failure
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return

    async def check(self, digest: str) -> None:
        """Check that the endpoint serves this model; as wait_for, but once, and with RequestFailed."""
        body = await self._exchange("GET", self._models, None, aiohttp.ClientTimeout(total=10))
        try:
            models = orjson.loads(body)["data"]
            # An engine that knows no digests serves the model under its digest as a name.
            name, served = str(models[0]["id"]), models[0].get("digest", models[0]["id"])
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise RequestFailed("the list of models could not be read", transient=False) from error
        if served != digest:
            raise WrongSubject(
                f"target {self._models} serves {served or 'a model without a digest'}, but inputs.model names "
                f"{digest}; start the engine with the model that is to be judged"
            )
        sampling = self._sampling
        self._options = {"model": name, "max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
        if sampling.temperature > 0:
            self._options["seed"] = sampling.seed

    async def answer(self, messages: Sequence[Message]) -> str:
        """The assistant's next message.

        Raises:
            RequestFailed: no answer came.
            NotPermitted: the target does not let us in.
        """
        body = await self._exchange(
            "POST", self._completions, orjson.dumps({**self._options, "messages": messages}), self._limit
        )
        try:
            content = orjson.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise RequestFailed("the completion could not be read", transient=True) from error
        if not isinstance(content, str | None):
            raise RequestFailed("the completion is not text", transient=True)
        return content or ""

    async def _exchange(self, method: str, url: URL, data: bytes | None, limit: aiohttp.ClientTimeout) -> bytes:
        try:
            async with self._session.request(method, url, data=data, timeout=limit) as response:
                body = await response.read()
        except TimeoutError as error:
            raise RequestFailed(f"no answer within {limit.total:g} s", transient=True) from error
        except aiohttp.ClientError as error:
            raise RequestFailed(f"the connection failed ({type(error).__name__})", transient=True) from error
        status = response.status
        if status in _DENIED:
            raise NotPermitted(f"target {url} answered {status}; give the evaluation access to it")
        if status != 200:
            wait = _seconds(response.headers.get("Retry-After", ""))
            raise RequestFailed(f"HTTP status {status}", transient=status in _TRANSIENT, wait=wait)
        return body


def _seconds(hint: str) -> float:
    return min(float(hint), _LONGEST_HINT) if hint.isdecimal() else 0.0
