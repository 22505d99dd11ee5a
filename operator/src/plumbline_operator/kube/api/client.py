"""The API server over HTTP: one method for each thing that the operator asks of it. No cache, no retry, no decision.

Every call ends within its time-out, in an answer or in an ApiError; the queue and the loops above decide whether and
when to ask again. Every call is counted.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from plumbline_api.names import FIELD_MANAGER
from plumbline_operator.kube.api.answers import Answer
from plumbline_operator.kube.api.errors import ApiError, Call, Unavailable, answer_to_error
from plumbline_operator.kube.api.login import Access, Login, LoginFailed
from plumbline_operator.kube.api.resources import Resource, Watched
from plumbline_operator.kube.api.wire import Connections, Stream

__all__ = ["Counted", "KubeClient", "Page", "Preconditions", "Timeouts"]

Raw = Mapping[str, Any]
Counted = Callable[[Call, int, float], None]
"""Told of every call: what was asked, the HTTP status (0 without an answer), the seconds it took."""

JSON: Final = "application/json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
MERGE_PATCH: Final = "application/merge-patch+json"
_MOST_RETIRED: Final = 2
"""Sessions with older certificates that calls and watches may still be using."""
_STANDING: Final = {"User-Agent": "plumbline-operator", "Accept-Encoding": "identity"}
_METADATA: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class Timeouts:
    """Seconds."""

    connect: float = 5.0
    total: float = 30.0
    silence: float = 90.0
    """Of a watch: the server sends a bookmark every minute."""


@dataclass(frozen=True)
class Page:
    """A part of a list."""

    items: tuple[Raw, ...]
    version: str
    """The version of the whole list."""
    more: str = ""
    """Where the next page begins; empty for the last."""


@dataclass(frozen=True)
class Preconditions:
    """The object that is meant, and the state that it was seen in."""

    uid: str
    version: str | None = None


class KubeClient:
    """One API server, one identity."""

    def __init__(
        self,
        login: Login,
        *,
        timeouts: Timeouts | None = None,
        count: Counted | None = None,
    ) -> None:
        """Connect with the first call.

        Args:
            login: Where credentials come from.
            timeouts: When to give up.
            count: Told of every call.
        """
        self._login = login
        self._timeouts = timeouts or Timeouts()
        self._count = count or (lambda _call, _code, _seconds: None)
        self._access: Access | None = None
        self._link: _Link | None = None
        self._retired: list[_Link] = []

    async def close(self) -> None:
        """Drop all connections."""
        links = [*self._retired, *([self._link] if self._link else [])]
        self._link, self._retired = None, []
        for link in links:
            await link.close()

    # Reading

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Raw:
        """One object."""
        call = Call("get", resource.title, namespace or "", name)
        return await self._ask(call, "GET", resource.path(namespace, name))

    async def document(self, path: str) -> Raw:
        """What the API server says of itself, such as which kinds it serves.

        Raises:
            NotFound: There is nothing at that address.
        """
        return await self._ask(Call("get", "discovery", "", path), "GET", path)

    async def page(self, what: Watched, namespace: str | None, more: str = "", *, size: int = 100) -> Page:
        """A part of all objects there are now, read from a quorum; all pages are of one consistent list.

        Args:
            what: What to list.
            namespace: Where; None for everywhere.
            more: Where the page before left off; empty for the first.
            size: Objects in it. A page takes ten times its bytes while it is looked at: 500 objects are 20 MB.

        Raises:
            Gone: when reading took so long that the server has forgotten the list; begin again.
        """
        call = Call("list", what.resource.title, namespace or "")
        accept = _METADATA.format("List") if what.metadata_only else JSON
        params = {"limit": str(size)} | ({"labelSelector": what.selector} if what.selector else {})
        if more:
            params["continue"] = more
        found = await self._ask(call, "GET", what.resource.path(namespace), params=params, accept=accept)
        metadata = found.get("metadata") or {}
        version = str(metadata.get("resourceVersion", ""))
        return Page(tuple(found.get("items") or ()), version, metadata.get("continue") or "")

    async def watch(self, what: Watched, namespace: str | None, version: str, *, seconds: int) -> AsyncIterator[bytes]:
        """Events after a version, as lines of JSON, until the server ends the stream or falls silent."""
        call = Call("watch", what.resource.title, namespace or "")
        params = {"watch": "1", "allowWatchBookmarks": "1", "resourceVersion": version, "timeoutSeconds": str(seconds)}
        if what.selector:
            params["labelSelector"] = what.selector
        accept = _METADATA.format("") if what.metadata_only else JSON
        async with self._stream(call, _target(what.resource.path(namespace), params), accept, seconds) as answer:
            if answer.status >= 400:
                content = b"".join([piece async for piece in answer.pieces])
                raise self._refused(call, answer.status, content, answer.headers)
            rest = b""
            async for piece in answer.pieces:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    yield line

    # Writing

    async def create(self, resource: Resource, namespace: str | None, body: Raw) -> Raw:
        """Make an object.

        Raises:
            AlreadyExists: when there is one of its name.
        """
        call = Call("create", resource.title, namespace or "", str((body.get("metadata") or {}).get("name", "")))
        params = {"fieldManager": FIELD_MANAGER}
        return await self._ask(call, "POST", resource.path(namespace), params=params, body=body)

    async def apply(self, resource: Resource, namespace: str, name: str, body: Raw) -> Raw:
        """Make an object, or make its fields what the body says (server-side apply); only for our own children."""
        call = Call("patch", resource.title, namespace, name)
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        path = resource.path(namespace, name)
        return await self._ask(call, "PATCH", path, params=params, body=body, content_type=APPLY_PATCH)

    async def merge(self, resource: Resource, namespace: str, name: str, body: Raw) -> Raw:
        """Change some fields of an object."""
        call = Call("patch", resource.title, namespace, name)
        params = {"fieldManager": FIELD_MANAGER}
        path = resource.path(namespace, name)
        return await self._ask(call, "PATCH", path, params=params, body=body, content_type=MERGE_PATCH)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Raw, *, subresource: str = "") -> Raw:
        """Replace an object, or a part of it such as its status.

        Raises:
            Conflict: when it has changed since the version that the body names.
        """
        call = Call("update", resource.title, namespace, name, subresource)
        params = {"fieldManager": FIELD_MANAGER}
        return await self._ask(call, "PUT", resource.path(namespace, name, subresource), params=params, body=body)

    async def delete(
        self, resource: Resource, namespace: str, name: str, expected: Preconditions, *, propagation: str = "Background"
    ) -> Raw:
        """Delete an object, if it is still the one that was seen; gives the object, or a Status.

        Raises:
            Conflict: when it is another one, or has changed.
        """
        call = Call("delete", resource.title, namespace, name)
        conditions = {"uid": expected.uid} | ({"resourceVersion": expected.version} if expected.version else {})
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        body = {**options, "preconditions": conditions}
        return await self._ask(call, "DELETE", resource.path(namespace, name), body=body)

    # HTTP

    async def _ask(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Raw | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Raw:
        link, access = await self._open(call)
        headers = {**access.headers, **_STANDING, "Accept": accept}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = orjson.dumps(body)
        time = asyncio.get_running_loop().time
        begun = time()
        try:
            answer = await link.ask(method, _target(path, params), headers, data, self._timeouts)
        except (aiohttp.ClientError, OSError) as error:
            self._count(call, 0, time() - begun)
            raise self._unanswered(call, error) from error
        self._count(call, answer.status, time() - begun)
        if answer.status >= 400:
            raise self._refused(call, answer.status, answer.content, answer.headers)
        return _parse(call, answer.content)

    @asynccontextmanager
    async def _stream(self, call: Call, target: str, accept: str, seconds: int) -> AsyncIterator[Stream]:
        link, access = await self._open(call)
        headers = {**access.headers, **_STANDING, "Accept": accept}
        time, code = asyncio.get_running_loop().time, 0
        begun = time()
        try:
            async with link.stream(target, headers, seconds, self._timeouts) as answer:
                code = answer.status
                self._count(call, code, time() - begun)
                yield answer
        except (aiohttp.ClientError, OSError) as error:
            if not code:
                self._count(call, code, time() - begun)
            raise self._unanswered(call, error) from error

    def _unanswered(self, call: Call, error: Exception) -> ApiError:
        if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
            self._login.suspect()
            return Unavailable(call, f"the server's certificate is not trusted ({error})")
        if isinstance(error, TimeoutError):
            return Unavailable(call, "no answer in time")
        return Unavailable(call, f"the connection failed ({type(error).__name__})")

    async def _open(self, call: Call) -> tuple["_Link", Access]:
        try:
            access = self._login.access()
        except LoginFailed as error:
            raise Unavailable(call, str(error)) from error
        if self._link is not None and self._access is access:
            return self._link, access
        before, self._access = self._access, access
        if self._link is None or before is None or not _same_connection(before, access):
            if self._link is not None:
                self._retired.append(self._link)
            self._link = _Link(access)
            while len(self._retired) > _MOST_RETIRED:
                await self._retired.pop(0).close()
        return self._link, access

    def _refused(self, call: Call, code: int, content: bytes, headers: Mapping[str, str]) -> ApiError:
        if code == 401:
            self._login.suspect()
        try:
            status = orjson.loads(content)
        except ValueError:
            status = {}
        return answer_to_error(call, code, status if isinstance(status, dict) else {}, headers.get("retry-after"))


class _Link:
    """The connections of one identity: lean ones, and a session of aiohttp's for proxies."""

    def __init__(self, access: Access) -> None:
        self._server, self._proxy = access.server, access.proxy
        self._calls = Connections(access.server, access.tls)
        # No limit: the workers are counted already, and watches, which hold a connection each, must not take theirs.
        tls = access.tls if access.tls is not None else True
        connector = aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str], data: bytes | None, times: Timeouts
    ) -> Answer:
        """Make a call; raises OSError or one of aiohttp's errors."""
        if self._proxy is None:
            return await self._calls.ask(method, target, headers, data, connect=times.connect, total=times.total)
        limits = aiohttp.ClientTimeout(total=times.total, sock_connect=times.connect)
        async with self._through_proxy(method, target, headers, data, limits) as response:
            return Answer(response.status, _lowered(response.headers), await response.read())

    @asynccontextmanager
    async def stream(
        self, target: str, headers: Mapping[str, str], seconds: int, times: Timeouts
    ) -> AsyncIterator[Stream]:
        """GET what comes for so many seconds; raises OSError or one of aiohttp's errors."""
        total = seconds + times.silence
        if self._proxy is None:
            async with self._calls.stream(
                target, headers, connect=times.connect, silence=times.silence, total=total
            ) as answer:
                yield answer
            return
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=times.connect, sock_read=times.silence)
        async with self._through_proxy("GET", target, headers, None, timeout) as response:
            yield Stream(response.status, _lowered(response.headers), response.content.iter_any())

    def _through_proxy(
        self, method: str, target: str, headers: Mapping[str, str], data: bytes | None, limits: aiohttp.ClientTimeout
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        url = URL(self._server + target, encoded=True)
        return self._session.request(
            method, url, headers=headers, data=data, timeout=limits, proxy=self._proxy, allow_redirects=False
        )

    async def close(self) -> None:
        """Drop all connections."""
        self._calls.close()
        await self._session.close()


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _target(path: str, params: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(params)}" if params else path


def _same_connection(one: Access, other: Access) -> bool:
    return (one.server, one.proxy) == (other.server, other.proxy) and one.tls is other.tls


def _parse(call: Call, content: bytes) -> Raw:
    try:
        found = orjson.loads(content)
    except ValueError as error:
        raise Unavailable(call, "the answer is no JSON") from error
    if not isinstance(found, dict):
        raise Unavailable(call, "the answer is no object")
    return found
