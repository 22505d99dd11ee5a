"""A session with a state directory: what the `plumbline` command does in local mode. Called by the CLI.

Reading (`reader.Reader`) needs no lock and disturbs nobody; a Session is the one writer.
"""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from plumbline_api.alignment import AlignmentRun
from plumbline_api.configmap import ConfigMap
from plumbline_api.meta import ConditionStatus
from plumbline_api.model import digest_of
from plumbline_api.names import RETRY_ANNOTATION
from plumbline_api.reasons import ConditionType
from plumbline_operator.local.cluster import LocalCluster
from plumbline_operator.local.controller import Controller, Snapshot
from plumbline_operator.local.differences import first_difference
from plumbline_operator.local.errors import Interrupted, NotServable, SpecChanged
from plumbline_operator.local.inputs import changed_input
from plumbline_operator.local.layout import Layout, StateLock, open_layout, remove_leftovers
from plumbline_operator.local.ports import check_free
from plumbline_operator.local.reader import Reader
from plumbline_operator.local.records import CONFIG_MAP, Applied, key_of
from plumbline_operator.local.settings import LocalSettings
from plumbline_operator.observed import Key, PlumblineObject
from plumbline_operator.references import named_objects
from plumbline_operator.status.conditions import find_condition
from plumbline_store import open_store

__all__ = ["ManifestObject", "Session", "open_session"]

OnChange = Callable[[Snapshot], None]
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class ManifestObject:
    """An object, and the manifest file it was read from: relative paths in it start at that file's folder."""

    document: PlumblineObject | ConfigMap
    file: Path


class Session(Reader):
    """The one writer of a state directory; made by `open_session`."""

    def __init__(self, layout: Layout, settings: LocalSettings, clock: Clock) -> None:
        super().__init__(layout)
        self._settings = settings
        self._clock = clock
        self._changed = asyncio.Event()
        self._cluster = LocalCluster(layout, settings, clock, self._changed.set)
        self._controller = Controller(self._cluster, self._changed, clock)
        self._scope: frozenset[Key] = frozenset()
        self._signals = 0

    # Objects

    async def apply(self, objects: Iterable[ManifestObject], *, replace: bool = False) -> dict[str, Applied]:
        """Keep objects as their manifests say: all, or none where one may not be.

        Maps `Kind/namespace/name` to what was done.

        Raises:
            SpecChanged: for an AlignmentRun that exists with another spec or other input files. With `replace`, such
                a run is deleted and made anew.
        """
        wanted = list(objects)
        changes = {_label(entry): change for entry in wanted if (change := self._change_of(entry))}
        if changes and not replace:
            raise next(iter(changes.values()))
        done = {}
        for entry in wanted:
            document, file = entry.document, str(entry.file.absolute())
            if isinstance(document, AlignmentRun) and _label(entry) in changes:
                await self._cluster.remove(key_of(document))
            made = self.records.keep(document, file=file, uid=str(uuid.uuid4()), now=self._clock())
            done[_label(entry)] = made
        return done

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """End what runs for an object and remove it; artifacts stay in the store. Raises ObjectMissing."""
        if self.records.record(kind, namespace, name) is None:
            raise self.missing(kind, name)
        if kind == CONFIG_MAP:
            self.records.remove(kind, namespace, name)
        else:
            await self._cluster.remove(next(key for key in self.keys() if str(key) == f"{kind}/{namespace}/{name}"))

    def retry(self, key: Key) -> None:
        """Ask for a new attempt of a failed object, to start with the next `run_until_settled`."""
        record = self.record(key)
        annotations = {**record.annotations, RETRY_ANNOTATION: uuid.uuid4().hex}
        changed = record.model_copy(update={"annotations": annotations})
        self.records.write(key.kind.value, key.namespace, key.name, changed)

    # Work

    async def run_until_settled(self, keys: Iterable[Key], on_change: OnChange) -> Snapshot:
        """Bring objects, and those they name, to rest; raises Interrupted after a signal, with all work saved."""
        self._scope = self._with_named(keys)
        snapshot = await self._controller.settle(self._scope, on_change, poll=self._settings.poll)
        if self._signals:
            raise await self._interruption()
        return snapshot

    async def serve(self, key: Key, on_change: OnChange) -> None:
        """Bring a GuardedInference up and keep it until a signal asks to end it.

        Raises:
            NotServable: where its gate lets nothing pass, or its pod does not come up.
            PortInUse: where the port in the settings is taken.
        """
        if self._settings.guard_port:
            check_free(self._settings.guard_port)
        snapshot = await self.run_until_settled([key], on_change)
        conditions = snapshot.views[key].status.conditions
        ready = find_condition(conditions, ConditionType.READY)
        if ready is None or ready.status != ConditionStatus.TRUE:
            why = "it was not looked at" if ready is None else ready.message
            raise NotServable(f"{key.kind} {key.name}", why, "then serve it again")
        await self._controller.keep(self._scope, on_change, poll=self._settings.poll)

    def interrupt(self) -> None:
        """The first time, end the work with grace; the second time, at once."""
        self._signals += 1
        self._controller.stop()
        if self._signals > 1:
            self._cluster.workload.kill()

    async def close(self) -> None:
        """End all processes with grace and write down how things stand."""
        workload = self._cluster.workload
        served = {pod.record.owner_key for pod in workload.deployments if pod.running}
        await workload.close()
        for pod in workload.deployments:
            if pod.record.owner_key in served:
                pod.declare_stopped()
        for key in sorted(served | (self._scope if self._signals else frozenset())):
            await self._controller.reconcile(key)

    async def _interruption(self) -> Interrupted:
        await self.close()
        remedy = "run the same command again to go on from there"
        return Interrupted(self.layout.root, "stopped by a signal; finished stages and checkpoints are kept", remedy)

    def _with_named(self, keys: Iterable[Key]) -> frozenset[Key]:
        """Keys and, in turn, the objects they name."""
        found: set[Key] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            thing = None if key in found else self.records.object(key)
            if thing is not None:
                found.add(key)
                waiting += named_objects(thing)
        return frozenset(found)

    def _change_of(self, entry: ManifestObject) -> SpecChanged | None:
        """What would change of a run that exists, where something would."""
        document, file = entry.document, str(entry.file.absolute())
        if not isinstance(document, AlignmentRun):
            return None
        key = key_of(document)
        before = self.records.object(key)
        if not isinstance(before, AlignmentRun):
            return None
        old, new = before.spec.fixed_part(), document.spec.fixed_part()
        change = first_difference(old, new, "spec")
        if change is not None:
            change = f"{change} (digest of the spec {digest_of(old)}, now {digest_of(new)})"
        else:
            change = changed_input(document, self.records.status(key), file, open_store(self.store_uri))
        if change is None:
            return None
        remedy = f"`plumbline delete alr {key.name}`, give it another name, or `plumbline run --replace`"
        return SpecChanged(f"{file}: AlignmentRun {key.name}", f"{change}, but a run is immutable", remedy)


@asynccontextmanager
async def open_session(
    state: Path,
    settings: LocalSettings,
    *,
    wait: float | None,
    on_wait: Callable[[str], None],
    clock: Clock | None = None,
) -> AsyncIterator[Session]:
    """The session of a state directory, made where it is new; SIGINT and SIGTERM interrupt it.

    Where another plumbline works on it, waits for at most `wait` seconds (None: for ever), then raises StateBusy.
    """
    layout = open_layout(state, create=True)
    lock = StateLock(layout)
    try:
        await lock.acquire(wait, on_wait)
        remove_leftovers(layout)
        session = Session(layout, settings, _now)
        with _interrupting(session):
            try:
                yield session
            finally:
                await session.close()
    finally:
        lock.release()


def _label(entry: ManifestObject) -> str:
    return f"{entry.document.kind}/{entry.document.metadata.namespace}/{entry.document.metadata.name}"


@contextmanager
def _interrupting(session: Session) -> Iterator[None]:
    """Have SIGINT and SIGTERM interrupt the session instead of ending the program."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, session.interrupt)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _now() -> datetime:
    return datetime.now(UTC)
