"""Progress of Jobs, put together: what pods are told of the status endpoint, what it takes, and who may read that.

Called by `assembly` where the settings say how pods reach the endpoint.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from plumbline_api.progress import Progress
from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.metrics import Metrics
from plumbline_operator.kube.progress.certificates import CertificateFolder, Certificates, OwnAuthority, Source
from plumbline_operator.kube.progress.endpoint import StatusServer
from plumbline_operator.kube.progress.reports import Reports
from plumbline_operator.kube.progress.reviews import Reviews
from plumbline_operator.kube.queue import WorkQueue
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.kube.settings import ProgressSettings
from plumbline_operator.observed import Key, Runtime, StatusEndpoint

__all__ = ["ProgressDesk"]

_LOG: Final = logging.getLogger(__name__)
_PERIOD: Final = 60.0
"""Seconds between two looks at what the name of the endpoint stands for."""
_PATIENCE: Final = 5.0


class ProgressDesk:
    """Takes reports and gives them out; made within a running loop."""

    def __init__(
        self,
        settings: ProgressSettings,
        host: str,
        *,
        client: KubeClient,
        cache: Cache,
        queue: WorkQueue[Key],
        metrics: Metrics,
        working_since: Callable[[], datetime | None],
        now: Callable[[], datetime],
    ) -> None:
        """Put everything together; `start` begins.

        Args:
            settings: How pods reach the endpoint, and where its certificate is from.
            host: Where to listen; empty for all addresses.
            client: The API server.
            cache: Knows Jobs and pods.
            queue: Where owners of Jobs that report are put.
            metrics: Count answers.
            working_since: Since when this replica does the work; None while it does not.
            now: The time.
        """
        self._settings = settings
        self._host = urlsplit(settings.url).hostname or ""
        self._working_since = working_since
        self._reports = Reports(cache, queue)
        self.certificates = Certificates(_source(settings, self._host, client))
        self.server = StatusServer(
            host,
            settings.port,
            self.certificates.context,
            cache=cache,
            reports=self._reports,
            reviews=Reviews(client),
            accepting=lambda: working_since() is not None,
            count=metrics.reported,
            now=now,
        )
        self._addresses: tuple[str, ...] = ()

    async def start(self) -> None:
        """Get a certificate and listen.

        Raises:
            CertificateUnusable: There is none that can be used.
            ApiError: The API server refused, or did not answer.
            OSError: The port is taken.
        """
        await self.certificates.renew()
        self._addresses = await _resolve(self._host)
        await self.server.start()

    def parts(self) -> tuple[tuple[Coroutine[Any, Any, None], str], ...]:
        """What must run as long as the operator, with names."""
        return (
            (self.certificates.run(), "certificates"),
            (self.server.sweep(), "reports"),
            (self._look_up(), "address of the status endpoint"),
        )

    async def close(self) -> None:
        """Stop listening."""
        await self.server.close()

    def newest(self, namespace: str, job: str) -> Progress | None:
        """The newest report of a Job."""
        return self._reports.newest(namespace, job)

    def listening_since(self) -> datetime | None:
        """Since when a Job could have reported here; None while it could not."""
        return self._working_since()

    def tell(self, runtime: Runtime) -> Runtime:
        """The settings of pods, with what they need to report."""
        endpoint = StatusEndpoint(
            url=self._settings.url.rstrip("/"),
            authority=self.certificates.authority,
            addresses=self._addresses,
            egress=self._settings.egress,
        )
        return replace(runtime, status_endpoint=endpoint)

    async def _look_up(self) -> None:
        while True:
            await asyncio.sleep(_PERIOD)
            # What was known is better than nothing: a name server may be away for a moment.
            self._addresses = await _resolve(self._host) or self._addresses


def _source(settings: ProgressSettings, host: str, client: KubeClient) -> Source:
    if settings.certificate is not None:
        return CertificateFolder(settings.certificate)
    namespace, _, name = settings.secret.partition("/")
    return OwnAuthority(client, namespace, name, [host])


async def _resolve(host: str) -> tuple[str, ...]:
    """The addresses that a name stands for: those of a Service stay. Empty for what is an address already."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return ()
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, TimeoutError):
        _LOG.warning("address unknown, pods have to ask a name server", extra={"host": host})
        return ()
    return tuple(sorted({str(address[0]) for _, _, _, _, address in found}))
