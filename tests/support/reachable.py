"""Which addresses are this machine: what tests may connect to. Filled by whoever brings a network up here."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["is_here", "network_here"]

_NAMED = ("::1", "localhost", "", b"127.0.0.1", b"localhost")
_networks = [ipaddress.ip_network("127.0.0.0/8")]


def is_here(host: object) -> bool:
    """Whether a connection or a look-up stays on this machine."""
    if host in _NAMED:
        return True
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return any(address in network for network in _networks)


@contextmanager
def network_here(network: str) -> Iterator[None]:
    """While it lasts, a network that begins and ends on this machine is one of its own."""
    ours = ipaddress.IPv4Network(network)
    _networks.append(ours)
    try:
        yield
    finally:
        _networks.remove(ours)
