"""Which Jobs may run beside each other: those whose CPU requests fit into the machine. Used by `jobs`."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Cores"]


class Cores:
    """Cores to share, first come first served; one holder is always let in, however much it asks for."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._used: list[float] = []
        self._queue: deque[asyncio.Event] = deque()

    @asynccontextmanager
    async def hold(self, wanted: float) -> AsyncIterator[None]:
        """Wait until the request fits, and keep it for the block."""
        turn = asyncio.Event()
        self._queue.append(turn)
        try:
            while self._queue[0] is not turn or not self._fits(wanted):
                turn.clear()
                await turn.wait()
            self._used.append(wanted)
        finally:
            self._queue.remove(turn)
            self._wake()
        try:
            yield
        finally:
            self._used.remove(wanted)
            self._wake()

    def _fits(self, wanted: float) -> bool:
        return not self._used or sum(self._used) + wanted <= self._total

    def _wake(self) -> None:
        if self._queue:
            self._queue[0].set()
