"""The queue between what happens and who deals with it: a key is in it once, and is dealt with by one worker at a time.

Whatever happens to a key while it waits is one turn of work; what happens while it is worked on is one more turn.
Failures are retried after delays that double. Nothing here knows what a key is, or reads a clock of its own.
"""

import asyncio
import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

__all__ = ["Backoff", "WorkQueue"]

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Backoff:
    """Delays before retries, in seconds: doubling, up to a limit, each made a little shorter by chance."""

    first: float = 0.1
    longest: float = 60.0
    jitter: float = 0.5
    """The share of a delay that chance may take away, so that what failed together is not retried together."""

    def delay(self, failures: int, random: Random) -> float:
        """The delay after so many failures in a row (1 or more)."""
        full = min(self.longest, self.first * 2.0 ** min(failures - 1, 60))
        return full * (1.0 - self.jitter * random.random())


class WorkQueue(Generic[K]):
    """Keys that wait, keys that will wait from a later moment on, and keys that are being worked on."""

    def __init__(
        self,
        random: Random,
        *,
        backoff: Backoff | None = None,
        waited: Callable[[float], None] | None = None,
    ) -> None:
        """Make an empty queue, for the running loop.

        Args:
            random: For jitter.
            backoff: Delays of `retry`.
            waited: Told of every key that is handed out how many seconds it had waited.
        """
        self._loop = asyncio.get_running_loop()
        self._random = random
        self._backoff = backoff or Backoff()
        self._waited = waited or (lambda _seconds: None)
        self._waiting: OrderedDict[K, float] = OrderedDict()
        """In the order in which they are handed out, with the moment since when."""
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._serial = 0
        self._timer: asyncio.Handle | None = None
        self._rings = 0.0
        """The timer's moment. uvloop's own does not know it where less than half a millisecond is left."""
        self._idle: deque[asyncio.Future[None]] = deque()

    # Putting in

    def add(self, key: K) -> None:
        """Let the key be dealt with as soon as possible."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = self._loop.time()
            self._wake_worker()

    def add_after(self, key: K, delay: float) -> None:
        """Let the key be dealt with after so many seconds; of several moments the earliest counts."""
        if delay <= 0:
            self.add(key)
            return
        moment = self._loop.time() + delay
        if moment >= self._due.get(key, float("inf")):
            return
        self._due[key] = moment
        self._serial += 1
        heapq.heappush(self._later, (moment, self._serial, key))
        self._set_timer()

    def retry(self, key: K, *, at_least: float = 0.0) -> float:
        """Let the key be dealt with after a delay that grows with its failures; gives the delay."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        delay = max(at_least, self._backoff.delay(failures, self._random))
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: K) -> None:
        """Forget the failures of the key."""
        self._failures.pop(key, None)

    def forget(self, key: K) -> None:
        """Forget all about the key, except that it is being worked on: what it stood for is gone."""
        self._failures.pop(key, None)
        self._waiting.pop(key, None)
        self._due.pop(key, None)
        self._again.discard(key)

    # Taking out

    async def get(self) -> K:
        """The key that has waited longest; `done` must follow."""
        while not self._waiting:
            idle: asyncio.Future[None] = self._loop.create_future()
            self._idle.append(idle)
            try:
                await idle
            except asyncio.CancelledError:
                if not idle.cancelled():
                    # It was woken and cancelled in the same turn; another worker must hear the call.
                    self._wake_worker()
                raise
        key, since = self._waiting.popitem(last=False)
        self._waited(self._loop.time() - since)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """The turn is over; whatever happened to the key meanwhile gets the next one."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    # Looking at

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._waiting)

    @property
    def working(self) -> int:
        """Keys that are being worked on."""
        return len(self._working)

    @property
    def delayed(self) -> int:
        """Keys that will wait from a later moment on."""
        return len(self._due)

    def failures(self, key: K) -> int:
        """How often the key has failed in a row."""
        return self._failures.get(key, 0)

    def _wake_worker(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return

    def _set_timer(self) -> None:
        moment = self._later[0][0]
        if self._timer is not None:
            if self._rings <= moment:
                return
            self._timer.cancel()
        self._timer, self._rings = self._loop.call_at(moment, self._ring), moment

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._later and self._later[0][0] <= now:
            moment, _, key = heapq.heappop(self._later)
            if self._due.get(key) == moment:
                del self._due[key]
                self.add(key)
        if self._later:
            self._set_timer()
