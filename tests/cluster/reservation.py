"""TCP ports of this machine that nobody else is given while they are held."""

import socket

__all__ = ["ReservedPort"]


class ReservedPort:
    """A free loopback port, bound but not listened on.

    A server that sets SO_REUSEPORT, as etcd and the API server can, binds it beside us; until it does, and
    between two of its lives, connections are refused and no other process can take the port.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number = int(self._socket.getsockname()[1])

    def release(self) -> None:
        """Give it back."""
        self._socket.close()
