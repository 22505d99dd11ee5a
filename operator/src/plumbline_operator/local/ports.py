"""Free ports of this machine for the ports that containers declare. Used by `attempts` and `deployments`."""

import socket
from collections.abc import Iterable
from contextlib import ExitStack

from plumbline_operator.local.errors import PortInUse

__all__ = ["check_free", "free_ports"]


def free_ports(names: Iterable[str]) -> dict[str, int]:
    """A different free port on loopback for each name.

    A program may still take one of them before its container does; the container fails then, and its Job tries again
    with others.
    """
    with ExitStack() as held:
        chosen = {}
        for name in names:
            listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.bind(("127.0.0.1", 0))
            chosen[name] = int(listener.getsockname()[1])
    return chosen


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
