"""The whole operator, put together: watches fill the cache, the queue feeds the workers, the lease decides who works.

Started and stopped by `shell`. Every task runs as long as the operator; one that ends before takes it down, because a
fresh process that reads the cluster anew is better than one that has lost a part. Nothing is lost with a process: what
was decided is in statuses and children.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from plumbline_api.names import ExitCode
from plumbline_operator.kube.api.client import Counted, KubeClient
from plumbline_operator.kube.api.errors import ApiError
from plumbline_operator.kube.api.login import Login
from plumbline_operator.kube.api.resources import WATCHED
from plumbline_operator.kube.cluster import KubeCluster
from plumbline_operator.kube.controller import Controller
from plumbline_operator.kube.discovery import JobSets
from plumbline_operator.kube.events import EventPoster
from plumbline_operator.kube.lease import Election, LeaseLost
from plumbline_operator.kube.metrics import Metrics, Readings
from plumbline_operator.kube.permissions import find_missing
from plumbline_operator.kube.progress.desk import ProgressDesk
from plumbline_operator.kube.queue import Backoff, WorkQueue
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.kube.seen.census import Census
from plumbline_operator.kube.seen.configmaps import NamedConfigMaps
from plumbline_operator.kube.seen.endings import Endings
from plumbline_operator.kube.seen.feed import Feed
from plumbline_operator.kube.seen.mentions import Mentions
from plumbline_operator.kube.seen.view import View
from plumbline_operator.kube.seen.watch import Watch
from plumbline_operator.kube.server import Health, HttpServer
from plumbline_operator.kube.settings import KubeSettings
from plumbline_operator.observed import Key

__all__ = ["NotPermitted", "Operator"]

_LOG: Final = logging.getLogger(__name__)
_STALE: Final = 180.0
"""Seconds without a word from a watch after which it is out of order: bookmarks come every minute."""
_DRAIN: Final = 1.0
_FINISH: Final = 2.5
"""Seconds that turns of work and events get when the operator is stopped."""
_BEAT: Final = 1.0


class NotPermitted(Exception):
    """The operator's role lacks something; one line for each."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        super().__init__("; ".join(missing))
        self.missing = missing


class Operator:
    """One replica; made within a running loop."""

    def __init__(
        self,
        settings: KubeSettings,
        *,
        connect: Callable[[Counted], KubeClient] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Put everything together; `start` begins.

        Args:
            settings: Checked settings.
            connect: Makes the client of the API server, given what it has to tell of every call.
            now: This machine's clock, which may be wrong.
        """
        random = Random(secrets.randbits(64))  # noqa: S311 - jitter
        self.settings = settings
        self.metrics = Metrics()
        self.failed = asyncio.Event()
        """Set when a part has ended that must not."""
        self.exit_code = int(ExitCode.OK)
        self.client = (connect or _connect)(self.metrics.called)
        self.cache, self.census, mentions = Cache(), Census(), Mentions()
        self.queue: WorkQueue[Key] = WorkQueue(random, backoff=Backoff(), waited=self.metrics.queue_waited)
        self.feed = Feed(self.cache, mentions, self.census, self.queue)
        # Two starts of one replica are two holders: the first may still be at work.
        identity = f"{settings.identity}_{secrets.token_hex(4)}"
        self.election = _candidate(settings, self.client, identity, random)
        self.events = EventPoster(self.client, identity, now)
        self.config_maps = NamedConfigMaps(self.client, mentions, self.queue.add, random, period=settings.poll)
        self._now = now
        self.job_sets = JobSets(self.client, self.cache, self.feed, random, settings)
        self.progress = self._desk()
        view = self._view(mentions)
        cluster = KubeCluster(view, self.client, self.feed, self.events, self._fence)
        self.controller = Controller(cluster, self.cache, self.queue, self.metrics, now=now, random=random)
        self._required = tuple(
            Watch(self.client, what, namespace, self.feed, random, relist=settings.relist)
            for what in WATCHED
            for namespace in settings.namespaces or (None,)
        )
        self.server = HttpServer(settings.host, settings.port, self.health, self.metrics.text)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._working_since: datetime | None = None
        self._lag = 0.0
        self._stopping = False

    async def check(self) -> None:
        """Ask whether everything that will be done is permitted.

        Raises:
            NotPermitted: with everything that is not.
            ApiError: The API server did not answer.
        """
        lease = None if self.election is None else self.settings.lease_namespace
        progress = self.settings.progress
        secret = "" if progress is None or progress.certificate else progress.secret
        reviews = progress is not None
        missing = await find_missing(self.client, self.settings.namespaces, lease, authority=secret, reviews=reviews)
        if missing:
            lines = [
                f"{permission} in " + (f"namespace {namespace}" if namespace else "all namespaces")
                for permission, namespace in missing
            ]
            raise NotPermitted(tuple(lines))

    async def start(self) -> None:
        """Begin: to answer probes, to take reports, to watch, to stand for election.

        Raises:
            OSError: A port is taken.
            CertificateUnusable, ApiError: There is no certificate to take reports with.
        """
        self.metrics.observe(self._readings)
        await self.server.start()
        facts: dict[str, Any] = {"port": self.server.port, "namespaces": list(self.settings.namespaces)}
        if self.progress is not None:
            await self.progress.start()
            facts["progress_port"] = self.progress.server.port
        _LOG.info("started", extra=facts)
        for watch in self._required:
            self._spawn(self._watch(watch), f"watch {watch.title}")
        for part, name in (
            (self.job_sets.run(), "JobSets"),
            (self.events.run(), "events"),
            (self.config_maps.run(), "config maps"),
            (self._beat(), "heartbeat"),
            (self._lead(), "work"),
            *(() if self.progress is None else self.progress.parts()),
        ):
            self._spawn(part, name)
        if self.election is not None:
            self._spawn(self.election.run(), "lease")

    async def stop(self) -> None:
        """End everything within four seconds: what was begun is finished, the lease is given back."""
        self._stopping = True
        await self.controller.stop(_FINISH)
        await self.events.drain(_DRAIN)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.election is not None:
            await self.election.release()
        if self.progress is not None:
            await self.progress.close()
        await self.server.close()
        await self.client.close()
        _LOG.info("stopped")

    def health(self) -> Health:
        """How this replica is."""
        stuck = [watch.title for watch in self.watches if watch.idle > _STALE]
        stale = [watch.title for watch in self.watches if watch.age > _STALE]
        unsynced = sorted({watch.title for watch in self._required if not watch.synced.is_set()})
        refused = sorted({watch.refused for watch in self.watches if watch.refused})
        problems = [f"watch of {title} is stuck" for title in stuck]
        problems += [f"the operator may not {call}; add it to its role" for call in refused]
        problems += [f"the API server has not been heard of about {title}" for title in stale]
        problems += [f"{title} not listed yet" for title in unsynced]
        facts = {
            "leader": self._leading,
            "working": self._working_since is not None,
            "objects": len(self.cache.keys()),
            "queue": self.queue.depth,
            "watches": {f"{watch.title} {watch.namespace or '*'}": round(watch.age, 1) for watch in self.watches},
        }
        alive = not stuck and not self.failed.is_set()
        ready = alive and not (stale or unsynced or refused)
        return Health(alive=alive, ready=ready, problems=tuple(problems), facts=facts)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Those there must be, and those of what the cluster serves besides."""
        return (*self._required, *self.job_sets.watches)

    # Parts

    def _desk(self) -> ProgressDesk | None:
        """Where progress comes in, if the settings ask for it."""
        if self.settings.progress is None:
            return None
        return ProgressDesk(
            self.settings.progress,
            self.settings.host,
            client=self.client,
            cache=self.cache,
            queue=self.queue,
            metrics=self.metrics,
            working_since=lambda: self._working_since if self._leading else None,
            now=self._now,
        )

    def _view(self, mentions: Mentions) -> View:
        desk, runtime = self.progress, self.settings.runtime
        return View(
            self.cache,
            mentions,
            self.config_maps,
            runtime=lambda: runtime if desk is None else desk.tell(runtime),
            progress=lambda namespace, job: None if desk is None else desk.newest(namespace, job),
            listening_since=lambda: None if desk is None else desk.listening_since(),
            now=self._now,
            endings=Endings(self.client, self.cache, self.feed),
            job_sets=self.job_sets.usable,
        )

    async def _lead(self) -> None:
        """Work, once the lease is ours and the cache is as new as that."""
        since = float("-inf")
        if self.election is not None:
            await self.election.won.wait()
            since = self.election.since
        for watch in self._required:
            await watch.synced.wait()
        await self.job_sets.known.wait()
        await asyncio.gather(*(self._catch_up(watch, since) for watch in self.watches))
        for key in self.cache.keys():
            self.queue.add(key)
        self._working_since = self._now()
        _LOG.info("at work", extra={"objects": self.queue.depth})
        for worker in self.controller.start(self.settings.workers):
            self._supervise(worker)
        await self.controller.resync(self.settings.resync)

    async def _watch(self, watch: Watch) -> None:
        if self.election is not None:
            # A list that is read after the lease was won need not be read again.
            await self.election.tried.wait()
        await watch.run()

    async def _catch_up(self, watch: Watch, since: float) -> None:
        """Read the list again if it was read before the lease was ours: another replica may have written since."""
        while watch.listed < since:
            try:
                await watch.list_now()
            except ApiError as error:
                _LOG.warning("list failed", extra={"resource": watch.title, "code": error.code})
                await asyncio.sleep(1.0)

    async def _beat(self) -> None:
        """See how late the loop is."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT
            await asyncio.sleep(_BEAT)
            self._lag = loop.time() - due

    @property
    def _leading(self) -> bool:
        return self.election is None or self.election.leading

    def _fence(self) -> None:
        if self.election is not None:
            self.election.check()

    def _readings(self) -> Readings:
        return Readings(
            depth=self.queue.depth,
            working=self.queue.working,
            delayed=self.queue.delayed,
            leader=self._leading and self._working_since is not None,
            loop_lag=self._lag,
            watch_ages={(watch.title, watch.namespace or ""): watch.age for watch in self.watches},
            standings=self.census.counts,
            events_dropped=self.events.dropped,
        )

    def _spawn(self, part: Coroutine[Any, Any, None], name: str) -> None:
        self._supervise(asyncio.create_task(part, name=name))

    def _supervise(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if self._stopping or task.cancelled():
            return
        error = task.exception()
        self.exit_code = int(ExitCode.UNAVAILABLE if isinstance(error, LeaseLost) else ExitCode.INTERNAL)
        _LOG.error("a part has ended", extra={"part": task.get_name()}, exc_info=error)
        self.failed.set()


def _connect(count: Counted) -> KubeClient:
    return KubeClient(Login(time.monotonic), count=count)


def _candidate(settings: KubeSettings, client: KubeClient, identity: str, random: Random) -> Election | None:
    if settings.lease_namespace is None:
        return None
    return Election(
        client,
        settings.lease_namespace,
        settings.lease_name,
        identity,
        random=random,
        clock=time.monotonic,
        times=settings.lease,
    )
