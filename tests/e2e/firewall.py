"""What leaves the node: this machine's services are let through, all else is dropped, and both are written down.

The rules look at a connection's first packet after the Service proxy has given it its real goal. Pods, the node and
their Services among each other are not looked at.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.e2e.machine import Machine

__all__ = ["Contact", "Firewall"]

TABLE = "plumbline"
PORT = "meta l4proto . th dport"
RULES = """\
table inet {table} {{
  set served {{ type inet_service; }}
  set passed {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; size 65535; flags dynamic; counter; }}
  set refused {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; size 65535; flags dynamic; counter; }}
  set refused_else {{ type ipv4_addr . ipv4_addr . inet_proto; size 65535; flags dynamic; counter; }}
  chain leaving {{
    ct state established,related accept
    ip daddr {{ {node}, {pods} }} accept
    ip daddr {services} drop
    ip daddr {host} tcp dport @served update @passed {{ ip saddr . ip daddr . {port} }} accept
    meta nfproto ipv6 ip6 daddr {{ fe80::/10, ff00::/8 }} drop
    meta l4proto {{ tcp, udp }} update @refused {{ ip saddr . ip daddr . {port} }} drop
    update @refused_else {{ ip saddr . ip daddr . meta l4proto }} drop
    drop
  }}
  chain forward {{
    type filter hook forward priority filter + 10; policy accept;
    jump leaving
  }}
  chain output {{
    type filter hook output priority filter + 10; policy accept;
    oifname "lo" accept
    jump leaving
  }}
}}
"""


@dataclass(frozen=True, order=True)
class Contact:
    """Somebody on the node who spoke, or wished to speak, with somebody who is not."""

    source: str
    """The address of a pod, or of the node."""
    goal: str
    protocol: str
    """Such as tcp."""
    port: int
    """0 where the protocol has none."""
    packets: int
    """First packets only: how often it was tried."""


class Firewall:
    """The rules of one node, and the record they keep."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def close(self) -> None:
        """Let nothing out from here on, except to what is allowed later."""
        plan = self._machine.addresses
        self._load(
            RULES.format(table=TABLE, port=PORT, node=plan.node, pods=plan.pods, services=plan.services, host=plan.host)
        )

    def allow(self, port: int) -> None:
        """Let node and pods reach a TCP port of this machine: a service of the site."""
        self._load(f"add element inet {TABLE} served {{ {port} }}\n")

    def forbid(self, port: int) -> None:
        """Take that back, for connections to come."""
        self._load(f"delete element inet {TABLE} served {{ {port} }}\n")

    def passed(self) -> list[Contact]:
        """Who reached services of the site."""
        return self._contacts("passed")

    def refused(self) -> list[Contact]:
        """Who was kept from whatever else."""
        return sorted([*self._contacts("refused"), *self._contacts("refused_else")])

    def _contacts(self, name: str) -> list[Contact]:
        said = json.loads(self._machine.run("nft", "--json", "list", "set", "inet", TABLE, name))
        (found,) = [part["set"] for part in said["nftables"] if "set" in part]
        return sorted(_contact(element["elem"]) for element in found.get("elem", ()))

    def _load(self, rules: str) -> None:
        self._machine.run("nft", "--file", "-", text=rules)


def _contact(element: dict[str, Any]) -> Contact:
    source, goal, protocol, *port = element["val"]["concat"]
    return Contact(source, goal, str(protocol), int(port[0]) if port else 0, int(element["counter"]["packets"]))
