"""One HTTP probe, as the kubelet does it. Used by `pod` and `deployments`; standard library only."""

import socket
from contextlib import suppress

from plumbline_operator.local.podplan import Probe

__all__ = ["answers"]


def answers(probe: Probe) -> bool:
    """Whether the port of this machine answers the path with a status from 200 to 399 in time."""
    request = f"GET {probe.path} HTTP/1.1\r\nHost: 127.0.0.1:{probe.port}\r\nConnection: close\r\n\r\n"
    with suppress(OSError, ValueError, IndexError):
        with socket.create_connection(("127.0.0.1", probe.port), timeout=probe.timeout) as connection:
            connection.sendall(request.encode())
            head = b""
            while b"\r\n" not in head and (more := connection.recv(256)):
                head += more
        return 200 <= int(head.split(b" ", 2)[1][:3]) < 400
    return False
