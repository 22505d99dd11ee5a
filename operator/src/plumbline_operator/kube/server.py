"""What the operator answers over HTTP: /metrics, /healthz, /readyz.

/healthz is for the kubelet's liveness probe: 503 means that only a restart helps. /readyz says whether this replica
knows the cluster, also while another one does the work. Both tell of every watch by its age.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp import web

__all__ = ["Health", "HttpServer"]

_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Health:
    """How the operator is."""

    alive: bool
    ready: bool
    problems: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)


class HttpServer:
    """Listens until it is closed."""

    def __init__(self, host: str, port: int, health: Callable[[], Health], metrics: Callable[[], bytes]) -> None:
        """Make a server.

        Args:
            host: Where to listen; empty for all addresses.
            port: Where to listen; 0 takes a free one.
            health: Asked for every probe.
            metrics: Asked for every scrape.
        """
        self.port = port
        """Where it listens, once `start` has returned."""
        self._host = host
        self._health = health
        self._metrics = metrics
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._scrape),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)

    async def start(self) -> None:
        """Listen; raises OSError with the remedy where the port is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host or None, self.port)
        try:
            await site.start()
        except OSError as error:
            where = f"port {self.port} of {self._host or 'this machine'}"
            raise OSError(f"{where} cannot be listened on ({error.strerror}); free it, or choose another") from error
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        health = self._health()
        return _answer(health, good=health.alive)

    async def _readyz(self, _: web.Request) -> web.Response:
        health = self._health()
        return _answer(health, good=health.ready)

    async def _scrape(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": _METRICS})


def _answer(health: Health, *, good: bool) -> web.Response:
    body = {"ok": good, "problems": list(health.problems), **health.facts}
    return web.Response(body=orjson.dumps(body), status=200 if good else 503, content_type="application/json")
