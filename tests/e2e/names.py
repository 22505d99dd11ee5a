"""The name server of the cluster: it knows cluster and site, denies everything else, and keeps a record."""

import http.client
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.component import Component
from tests.cluster.controlplane import ControlPlane
from tests.e2e.build.coredns import COREDNS
from tests.e2e.kubelet import DOMAIN
from tests.e2e.machine import Machine
from tests.e2e.objects import NAMES_USER

__all__ = ["NameServer", "Question"]

READY_PORT = 8181
COREFILE = """\
(all) {{
    bind {node}
    errors
    log
}}
{domain}:53 in-addr.arpa:53 {{
    import all
    ready {node}:{ready}
    kubernetes {domain} in-addr.arpa {{
        kubeconfig {kubeconfig} test
        pods insecure
    }}
}}
{site} {{
    import all
    hosts {{
        {host} {names}
    }}
}}
.:53 {{
    import all
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""
ANSWERED = re.compile(r'^\[INFO\] (\S+):\d+ - \d+ "(\S+) \S+ (\S+)\. \S+ \d+ \S+ \d+" (\S+) ', re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """One that was answered."""

    source: str
    """The address of the pod, or of the node, that asked."""
    type: str
    """Such as A."""
    name: str
    """Without the last dot."""
    code: str
    """Such as NOERROR or NXDOMAIN."""


class NameServer:
    """CoreDNS on the node, behind the Service that every pod asks."""

    def __init__(self, machine: Machine, plane: ControlPlane, coredns: Path, names: Sequence[str]) -> None:
        """Made from a control plane that runs; `names` are those under which the site reaches this machine."""
        self._site = frozenset(names)
        self._address = machine.addresses.node
        corefile = machine.folder / "Corefile"
        text = COREFILE.format(
            node=machine.addresses.node,
            ready=READY_PORT,
            host=machine.addresses.host,
            names=" ".join(names),
            site=" ".join(f"{name}:53" for name in names),
            domain=DOMAIN,
            kubeconfig=plane.node_kubeconfig(NAMES_USER),
        )
        corefile.write_text(text, encoding="utf-8")
        self.process: Component = machine.component(coredns / COREDNS, ["-conf", str(corefile)])

    def is_ready(self) -> bool:
        """Whether it knows the cluster by now."""
        connection = http.client.HTTPConnection(self._address, READY_PORT, timeout=2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()

    def questions(self) -> list[Question]:
        """Every question so far, in the order of the answers."""
        if not self.process.log.exists():
            return []
        text = self.process.log.read_text(encoding="utf-8", errors="replace")
        return [Question(*found) for found in ANSWERED.findall(text)]

    def outside(self) -> list[Question]:
        """Those for names that neither the cluster nor the site has: somebody wanted to leave."""
        return [question for question in self.questions() if not self._is_ours(question.name)]

    def _is_ours(self, name: str) -> bool:
        return name in self._site or name == DOMAIN or name.endswith((f".{DOMAIN}", ".in-addr.arpa"))
