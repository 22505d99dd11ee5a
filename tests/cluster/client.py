"""A small asynchronous client of the API server for tests: plain objects in, plain objects out, nothing hidden."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Self, TypeVar

import aiohttp
import orjson

__all__ = [
    "CONFIG_MAPS",
    "CRDS",
    "DEPLOYMENTS",
    "EVENTS",
    "JOBS",
    "NAMESPACES",
    "PODS",
    "SERVICE_ACCOUNTS",
    "ApiError",
    "KubeClient",
    "Object",
    "Resource",
    "WatchEvent",
    "ended_at_once",
    "eventually",
    "hang_up",
]

Object = dict[str, Any]
"""A Kubernetes object as the API server speaks it."""

T = TypeVar("T")
PATIENCE = 30.0
LONGEST_LINE = 4 << 20
"""Bytes of an event of a watch: an object has at most 1.5 MB in etcd."""
GROUP_OF_CORE = ""


@dataclass(frozen=True)
class Resource:
    """A kind of object by its place in the API."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The address of one object, or of all without a name; of all namespaces without a namespace."""
        parts = ["api", self.version] if self.group == GROUP_OF_CORE else ["apis", self.group, self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        return "/" + "/".join([*parts, self.plural, *filter(None, [name, subresource])])


CONFIG_MAPS = Resource(GROUP_OF_CORE, "v1", "configmaps")
EVENTS = Resource(GROUP_OF_CORE, "v1", "events")
NAMESPACES = Resource(GROUP_OF_CORE, "v1", "namespaces", namespaced=False)
PODS = Resource(GROUP_OF_CORE, "v1", "pods")
SERVICE_ACCOUNTS = Resource(GROUP_OF_CORE, "v1", "serviceaccounts")
JOBS = Resource("batch", "v1", "jobs")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)


class ApiError(Exception):
    """The API server refused: `status` is the HTTP status, `reason` and `message` are its words."""

    def __init__(self, status: int, answer: Mapping[str, Any]) -> None:
        self.status = status
        self.reason = str(answer.get("reason", ""))
        self.message = str(answer.get("message", ""))
        self.answer = answer
        super().__init__(f"{status} {self.reason}: {self.message}")


@dataclass(frozen=True)
class WatchEvent:
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and the object."""

    type: str
    object: Object


class KubeClient:
    """One user's connections to one API server; made by `connect`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, context: ssl.SSLContext, token: str = "") -> AsyncIterator[Self]:
        """A client that authenticates by the context's certificate, or by a token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A watch lasts; everything else has the time-out of the test around it.
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10)
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with (
            ended_at_once(connector),
            aiohttp.ClientSession(
                url, connector=connector, headers=headers, timeout=limits, read_bufsize=LONGEST_LINE
            ) as session,
        ):
            yield cls(session)

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """One object."""
        return await self.call("GET", resource.path(namespace, name))

    async def find(self, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None where it is not there."""
        try:
            return await self.get(resource, name, namespace)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def items(self, resource: Resource, namespace: str | None = None, selector: str = "") -> list[Object]:
        """Every object, of those labels if a selector is given."""
        query = {"labelSelector": selector} if selector else {}
        found: list[Object] = (await self.call("GET", resource.path(namespace), query=query))["items"]
        return found

    async def create(
        self, resource: Resource, body: Object, namespace: str | None = None, query: Mapping[str, str] | None = None
    ) -> Object:
        """Make an object; the server's copy of it."""
        return await self.call("POST", resource.path(namespace), body, query=query)

    async def replace(
        self, resource: Resource, body: Object, namespace: str | None = None, subresource: str = ""
    ) -> Object:
        """Write a whole object, in conflict with every write since it was read."""
        return await self.call("PUT", resource.path(namespace, body["metadata"]["name"], subresource), body)

    async def merge(
        self, resource: Resource, name: str, changes: Object, namespace: str | None = None, subresource: str = ""
    ) -> Object:
        """Write some fields over whatever is there (a JSON merge patch)."""
        path = resource.path(namespace, name, subresource)
        return await self.call("PATCH", path, changes, content="application/merge-patch+json")

    async def apply(
        self,
        resource: Resource,
        body: Object,
        namespace: str | None = None,
        *,
        manager: str = "tests",
        force: bool = False,
        subresource: str = "",
    ) -> Object:
        """Server-side apply as a field manager."""
        path = resource.path(namespace, body["metadata"]["name"], subresource)
        query = {"fieldManager": manager, "force": str(force).lower()}
        return await self.call("PATCH", path, body, content="application/apply-patch+yaml", query=query)

    async def delete(
        self, resource: Resource, name: str, namespace: str | None = None, propagation: str = "Background"
    ) -> None:
        """Delete an object; what it owns follows by the propagation."""
        await self.call("DELETE", resource.path(namespace, name), {"propagationPolicy": propagation})

    async def watch(
        self, resource: Resource, namespace: str | None = None, version: str = "", **query: str
    ) -> AsyncIterator[WatchEvent]:
        """Every change from a resource version on, or from now with everything that is there first."""
        path = resource.path(namespace)
        wanted = {"watch": "true", **query, **({"resourceVersion": version} if version else {})}
        async with self._session.get(path, params=wanted) as answer:
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise ApiError(answer.status, _parsed(await answer.read()))
            try:
                async for line in answer.content:
                    event = orjson.loads(line)
                    yield WatchEvent(event["type"], event["object"])
            finally:
                hang_up(answer)

    async def until(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        holds: Callable[[Object], object],
        seconds: float = PATIENCE,
    ) -> Object:
        """The object, once it is there and the condition holds for it.

        Raises:
            TimeoutError: It never did; says what the object was last.
        """
        last: Object | None = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    last = await self.find(resource, name, namespace)
                    if last is not None and holds(last):
                        return last
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise TimeoutError(f"{resource.plural}/{name} after {seconds} s: {orjson.dumps(last).decode()}") from error

    async def establish(self, crd: Object) -> None:
        """Apply a CustomResourceDefinition, and return once every version of it is served.

        Raises:
            TimeoutError: It never was.
            ApiError: The API server refused it.
        """
        crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **crd}
        await self.apply(CRDS, crd, force=True)
        await self.until(CRDS, crd["metadata"]["name"], None, _is_established)
        spec = crd["spec"]
        for version in spec["versions"]:
            if version["served"]:
                resource = Resource(spec["group"], version["name"], spec["names"]["plural"])
                await eventually(partial(self._is_served, resource))

    async def _is_served(self, resource: Resource) -> bool:
        try:
            await self.items(resource)
        except ApiError as error:
            # First no handler knows it, then its storage is "(re)initializing".
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS):
                raise
            return False
        return True

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        """Any call; the object of the answer.

        Raises:
            ApiError: The API server refused.
            aiohttp.ClientError: It was not there, or broke off.
        """
        sent = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content}
        async with self._session.request(method, path, data=sent, headers=headers, params=query) as answer:
            found = _parsed(await answer.read())
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise ApiError(answer.status, found)
            return found


@asynccontextmanager
async def ended_at_once(connector: aiohttp.TCPConnector) -> AsyncIterator[None]:
    """Leave no connection to be ended by a loop that is closed by then."""
    try:
        yield
    finally:
        await connector.close(abort_ssl=True)
        # What was aborted is closed in the next turn of the loop.
        await asyncio.sleep(0)


def hang_up(answer: aiohttp.ClientResponse) -> None:
    """End a connection at once: an orderly end may outlast the loop."""
    if answer.connection is not None and answer.connection.transport is not None:
        answer.connection.transport.abort()
    answer.close()


async def eventually(look: Callable[[], Awaitable[T]], seconds: float = PATIENCE) -> T:
    """What `look` finds, as soon as it finds something.

    Raises:
        TimeoutError: It never did.
    """
    async with asyncio.timeout(seconds):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.05)


def _is_established(crd: Object) -> bool:
    conditions = crd.get("status", {}).get("conditions") or ()
    return any(found["type"] == "Established" and found["status"] == "True" for found in conditions)


def _parsed(body: bytes) -> Object:
    """The object in an answer; what is no object, such as a proxy's page, as a message."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {"message": body.decode(errors="replace")}
    return found if isinstance(found, dict) else {"message": str(found)}
