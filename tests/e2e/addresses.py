"""The networks of a node: one of the private /16 networks, which node and pods have for themselves."""

import ipaddress
from dataclasses import dataclass

__all__ = ["NETWORKS", "Addresses", "free_numbers"]

NETWORKS = range(200, 232)
"""The second number of the networks that nodes may take."""


@dataclass(frozen=True)
class Addresses:
    """Who is where in the network of a number."""

    number: int

    @property
    def network(self) -> str:
        """All of it; this machine reaches it through the node."""
        return f"10.{self.number}.0.0/16"

    @property
    def host(self) -> str:
        """This machine as the node sees it: the API server, the registry, and whatever else a site has."""
        return f"10.{self.number}.0.1"

    @property
    def node(self) -> str:
        """The node."""
        return f"10.{self.number}.0.2"

    @property
    def services(self) -> str:
        """The addresses of Services."""
        return f"10.{self.number}.64.0/24"

    @property
    def first_service(self) -> str:
        """The Service of the API server."""
        return f"10.{self.number}.64.1"

    @property
    def names(self) -> str:
        """The Service of the name server."""
        return f"10.{self.number}.64.10"

    @property
    def pods(self) -> str:
        """The addresses of pods."""
        return f"10.{self.number}.128.0/24"


def free_numbers(routes: list[str]) -> list[int]:
    """The numbers whose networks no route of this machine leads into."""
    taken = [ipaddress.ip_network(route) for route in routes if route != "default" and ":" not in route]
    return [
        number
        for number in NETWORKS
        if not any(ipaddress.ip_network(Addresses(number).network).overlaps(known) for known in taken)
    ]
