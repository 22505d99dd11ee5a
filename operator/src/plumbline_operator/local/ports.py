"""Free ports of this machine for the ports that containers declare. Used by `jobs` and `deployments`."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from plumbline_operator.local.errors import PortInUse

__all__ = ["PortPool", "check_free"]


class PortPool:
    """Gives out free ports, none twice as long as it is kept.

    A program that is not ours may still take one before its container does; the container fails then, and its Job
    tries again with others.
    """

    def __init__(self) -> None:
        self._kept: set[int] = set()

    @contextmanager
    def keep(self, names: Iterable[str]) -> Iterator[dict[str, int]]:
        """A different free port on loopback for each name, for the time of the block.

        Nobody else may get them meanwhile: a probe must never be answered by another pod's engine.
        """
        with ExitStack() as held:
            chosen = {name: self._find(held) for name in names}
        self._kept.update(chosen.values())
        try:
            yield chosen
        finally:
            self._kept.difference_update(chosen.values())

    def _find(self, held: ExitStack) -> int:
        while True:
            listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
            if port not in self._kept:
                return port


def check_free(port: int) -> None:
    """Raise PortInUse where something listens on a port that was asked for."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = error.strerror or "cannot be bound"
            remedy = "end the program that listens there, or choose another with --port (0 takes any free one)"
            raise PortInUse(f"port {port} on 127.0.0.1", why.lower(), remedy) from error
