"""Where Jobs report their progress: HTTPS, one address for each Job, in the wire format of Kubeflow Trainer.

A pod proves by a token, made for the address of its Job alone, that it is a pod of this Job. Nothing of a token or a
report is ever logged. Only the replica that does the work takes reports; another asks to come again, over another
connection, which may lead elsewhere.
"""

import asyncio
import logging
import math
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from aiohttp import web

from plumbline_api.names import STATUS_LIMIT_BYTES, status_audience, status_path
from plumbline_api.progress import BadReport, read_report
from plumbline_operator.kube.api.errors import ApiError
from plumbline_operator.kube.api.resources import JOB_SETS, JOBS
from plumbline_operator.kube.progress.buckets import Buckets
from plumbline_operator.kube.progress.reports import Reports
from plumbline_operator.kube.progress.reviews import Caller, Reviews, TooManyReviews
from plumbline_operator.kube.progress.tokens import read_claims
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.kube.seen.relations import JobsOf, PodsOf
from plumbline_operator.kube.workloads.rawobjects import is_controlled_by

__all__ = ["StatusServer"]

Raw = Mapping[str, Any]

_LOG: Final = logging.getLogger(__name__)
_BURST: Final = 10
_PERIOD: Final = 1.0
"""Reports of a Job: one a second, and a few at once; our programs and transformers send one every five seconds."""
_MOST: Final = 16_384
"""Jobs whose rate is remembered."""
_SLOWEST: Final = 5.0
"""Seconds for a handshake, for the review of a token, and for the body of a report."""
_SWEEP: Final = 30.0
_ANSWERS: Final = {
    400: "the report cannot be read",
    401: "a token for this Job is needed",
    403: "the token is not that of a pod of this Job",
    404: "there is no such Job",
    408: "the report did not come in time",
    413: f"a report has at most {STATUS_LIMIT_BYTES} bytes",
    429: "too many reports",
    500: "a defect",
    503: "not here, or not now",
}


class _Refused(Exception):
    def __init__(self, code: int, *, fact: str = "", wait: float = 0.0) -> None:
        super().__init__(code)
        self.code, self.fact, self.wait = code, fact or _ANSWERS[code], wait


class StatusServer:
    """Listens until it is closed; made within a running loop."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext,
        *,
        cache: Cache,
        reports: Reports,
        reviews: Reviews,
        accepting: Callable[[], bool],
        count: Callable[[int], None],
        now: Callable[[], datetime],
    ) -> None:
        """Make a server.

        Args:
            host: Where to listen; empty for all addresses.
            port: Where to listen; 0 takes a free one.
            tls: The certificate to show; it may be changed meanwhile.
            cache: Knows Jobs and pods.
            reports: Where reports go.
            reviews: Knows whose a token is.
            accepting: Whether this replica takes reports at the moment.
            count: Told of every answer, by its code.
            now: The time.
        """
        self.port = port
        """Where it listens, once `start` has returned."""
        self._host, self._tls = host, tls
        self._cache, self._reports, self._reviews = cache, reports, reviews
        self._accepting, self._count, self._now = accepting, count, now
        self._rates = Buckets(burst=_BURST, period=_PERIOD, most=_MOST, time=asyncio.get_running_loop().time)
        self._seen: set[web.RequestHandler] = set()
        # What is as long as this is too long for aiohttp.
        app = web.Application(client_max_size=STATUS_LIMIT_BYTES + 1)
        app.add_routes([web.post(status_path("{namespace}", "{job}"), self._answer)])
        # What aiohttp would log of a broken request may quote it.
        silent = logging.getLogger(f"{__name__}.http")
        silent.disabled = True
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=silent,
            handle_signals=False,
            shutdown_timeout=0.5,
            keepalive_timeout=_SLOWEST,
            lingering_time=1.0,
        )

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host or None, self.port, ssl_context=self._tls)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()
        await self._reviews.close()

    async def sweep(self) -> None:
        """Let go of Jobs that are gone, and of connections that nobody needs for so long; for ever."""
        while True:
            await asyncio.sleep(_SWEEP)
            self._reports.sweep()
            open_now = set(self._runner.server.connections) if self._runner.server is not None else set()
            for connection in self._seen & open_now:
                connection.force_close()
            self._seen = open_now

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            await self._take(request)
        except _Refused as refusal:
            return self._refuse(refusal)
        except Exception as error:  # noqa: BLE001 - its text and its frames may hold what was sent
            _LOG.error("a report was not taken", extra={"error": type(error).__name__})
            return self._refuse(_Refused(500))
        self._count(200)
        return web.json_response({})

    def _refuse(self, refusal: _Refused) -> web.Response:
        self._count(refusal.code)
        response = web.Response(
            status=refusal.code, body=orjson.dumps({"message": refusal.fact}), content_type="application/json"
        )
        if refusal.wait:
            response.headers["Retry-After"] = str(math.ceil(refusal.wait))
        if refusal.code == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        response.force_close()
        return response

    async def _take(self, request: web.Request) -> None:
        if not self._accepting():
            raise _Refused(503, wait=1.0)
        namespace, name = request.match_info["namespace"], request.match_info["job"]
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise _Refused(401)
        if (request.content_length or 0) > STATUS_LIMIT_BYTES:
            raise _Refused(413)
        found = ((resource, self._cache.get(resource, namespace, name)) for resource in (JOBS, JOB_SETS))
        resource, job = next(((resource, job) for resource, job in found if job is not None), (JOBS, None))
        if job is None:
            raise _Refused(404)
        await self._authenticate(token.strip(), job)
        wait = self._rates.take((namespace, name))
        if wait:
            raise _Refused(429, wait=wait)
        try:
            progress = read_report(await _body(request), self._now())
        except BadReport as error:
            raise _Refused(400, fact=str(error)) from error
        self._reports.put(resource, job, progress)

    async def _authenticate(self, token: str, job: Raw) -> None:
        """Return if the token is that of a pod of the Job. One that is bound to no pod could be anybody's."""
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        audience, claims = status_audience(namespace, name), read_claims(token)
        if claims is None or audience not in claims.audiences:
            raise _Refused(401)
        if not self._has_pod(job, claims.pod_uid):
            raise _Refused(403)
        caller = await self._review(token, audience)
        if caller is None:
            raise _Refused(401)
        if not caller.user.startswith(f"system:serviceaccount:{namespace}:") or caller.pod_uid != claims.pod_uid:
            raise _Refused(403)

    async def _review(self, token: str, audience: str) -> Caller | None:
        try:
            async with asyncio.timeout(_SLOWEST):
                return await self._reviews.ask(token, audience)
        except TooManyReviews as error:
            raise _Refused(429, wait=error.seconds) from error
        except (ApiError, TimeoutError) as error:
            code = getattr(error, "code", 0)
            _LOG.warning("a token could not be reviewed", extra={"error": type(error).__name__, "code": code})
            raise _Refused(503, wait=_SLOWEST) from error

    def _has_pod(self, job: Raw, uid: str | None) -> bool:
        """Whether a pod with this uid is one of the Job's, or of a Job of the JobSet's."""
        place = job["metadata"]["namespace"], job["metadata"]["name"]
        of_set = [child for _, child in self._cache.members(JobsOf(*place)) if is_controlled_by(child, job)]
        return any(
            pod["metadata"]["uid"] == uid and is_controlled_by(pod, one)
            for one in (job, *of_set)
            for _, pod in self._cache.members(PodsOf(JOBS.kind, place[0], one["metadata"]["name"]))
        )


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_SLOWEST):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise _Refused(413) from error
    except (TimeoutError, ConnectionError) as error:
        raise _Refused(408) from error
