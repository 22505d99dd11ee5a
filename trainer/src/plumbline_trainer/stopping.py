"""SIGTERM: stop at once where nothing would be lost, and at the next step boundary while training.

`main` installs the switch before anything heavy is imported; the training loop defers it and asks it at each step.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from plumbline_trainer.failures import Preempted

__all__ = ["StopSwitch"]


class StopSwitch:
    """Whether somebody has asked this process to stop."""

    def __init__(self) -> None:
        self.requested = False
        self._deferred = False

    def install(self) -> None:
        """Answer SIGTERM, and Ctrl-C, from now on."""
        signal.signal(signal.SIGTERM, self.receive)
        signal.signal(signal.SIGINT, self.receive)

    def receive(self, _signal: int, _frame: FrameType | None) -> None:
        """Note the request; outside `deferred` also raise Preempted, once, so that cleaning up is not interrupted."""
        first = not self.requested
        self.requested = True
        if first and not self._deferred:
            raise Preempted

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """While inside, a request is only noted: whoever works here asks `requested` where stopping is safe."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def check(self) -> None:
        """Raise Preempted if somebody has asked to stop."""
        if self.requested:
            raise Preempted
