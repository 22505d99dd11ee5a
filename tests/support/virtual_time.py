"""An event loop whose clock jumps: whenever nothing is left to do, it is at once the moment of the next timer.

For tests of delays and deadlines that take no time and repeat exactly. Without sockets: nothing outside can wake it.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run_virtually"]

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting, it lets the time pass."""

    def __init__(self, loop: "_VirtualLoop") -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; a wait is over at once."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("the test waits for something that no timer will bring")
        if not ready and timeout:
            self._loop.moment += timeout
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.moment = 1000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.moment


def run_virtually(test: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time, which begins at 1000 seconds."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(test)
