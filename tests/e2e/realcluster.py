"""A whole cluster of one real node, with what a site has around it: `with real_cluster(programs) as cluster`.

The control plane and the registry are processes of this machine; containerd, kubelet, Service proxy and name server
live in a machine of their own (`machine.py`), with all pods. The node reaches the API server, the registry and what
`firewall.allow` adds, and nothing else.
"""

import http.client
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from tests.cluster.client import KubeClient, Object
from tests.cluster.commands import run_helm, run_kubectl
from tests.cluster.component import Component
from tests.cluster.controlplane import ControlPlane, Options, control_plane
from tests.cluster.folder import owned_folder
from tests.cluster.nodenetwork import NodeNetwork
from tests.e2e.build.probe import PAUSE, PROBE
from tests.e2e.cgroups import remove_left_cgroups
from tests.e2e.firewall import Contact, Firewall
from tests.e2e.kubelet import NODE, kubelet, service_proxy
from tests.e2e.machine import Machine, MachineError, machine
from tests.e2e.names import NameServer, Question
from tests.e2e.objects import first_objects
from tests.e2e.programs import NodePrograms
from tests.e2e.registry import REGISTRY_NAME, REGISTRY_PORT, Registry
from tests.e2e.runtime import ContainerRuntime
from tests.e2e.volumes import local_volume
from tests.support.reachable import network_here

__all__ = ["FOLDER", "RealCluster", "real_cluster"]

FOLDER = "plumbline-node-"
SITE = "site.plumbline.test"
"""Another name under which the node finds this machine, for whatever a test puts there."""
PATIENCE = 90.0


class RealCluster:
    """The parts, up and working; made by `real_cluster`."""

    def __init__(self, programs: NodePrograms, place: Machine, plane: ControlPlane) -> None:
        self.programs, self.machine, self.plane = programs, place, plane
        self.addresses = place.addresses
        self.registry = Registry(place.folder / "registry", place.addresses.host)
        self.firewall = Firewall(place)
        self.runtime = ContainerRuntime(place)
        self.kubelet = kubelet(place, plane)
        self.proxy = service_proxy(place, plane)
        self.names = NameServer(place, plane, programs.coredns, (REGISTRY_NAME, SITE))
        self.timeline: list[tuple[str, float]] = []
        """What was reached, and in which second of the start."""

    @property
    def components(self) -> tuple[Component, ...]:
        """The programs of the node and of the site, without the control plane's."""
        return self.registry.process, self.runtime.process, self.kubelet, self.proxy, self.names.process

    def client(self) -> AbstractAsyncContextManager[KubeClient]:
        """The administrator's client."""
        return self.plane.client()

    def kubectl(self, *arguments: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """One call of kubectl as the administrator; `text` is what `-f -` reads."""
        return run_kubectl(self.plane, *arguments, text=text, check=check)

    def helm(self, *arguments: str, major: int = 4, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One call of Helm as the administrator."""
        return run_helm(self.plane, major, *arguments, check=check)

    def apply(self, *objects: Object) -> None:
        """Apply objects that name their kind, and their namespace if they are in one."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--filename=-", text=json.dumps(listed))

    def set_resource(self, name: str, count: int) -> None:
        """Let the node have so many of an extended resource, such as nvidia.com/gpu; there is no device behind it."""
        room = {kind: {name: str(count)} for kind in ("capacity", "allocatable")}
        patch = json.dumps({"status": room})
        self.kubectl("patch", "node", NODE, "--subresource=status", "--type=merge", f"--patch={patch}")

    def provide_volume(self, namespace: str, claim: str, size: str = "10Gi", *, megabytes: int = 0) -> Path:
        """Let the node have a volume for a claim; the folder where this machine sees its files.

        Args:
            namespace: Of the claim.
            claim: Its name.
            size: What the volume claims to hold.
            megabytes: What it holds indeed, in memory; by default what the disk has.
        """
        folder = self.machine.folder / "volumes" / namespace / claim
        self.apply(local_volume(folder, namespace, claim, size))
        if not megabytes:
            return folder
        self.machine.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=777", "volume", str(folder))
        return self.machine.seen(folder)

    def restart_kubelet(self) -> None:
        """Kill the kubelet and start another; returns before it is ready."""
        self.kubelet.kill()
        self.kubelet.start()

    def restart_runtime(self) -> None:
        """Kill containerd and start another, and wait until it answers."""
        self.runtime.process.kill()
        self.runtime.start()

    def leavers(self) -> Counter[Contact | Question]:
        """Who has tried so far to reach what is neither cluster nor site, or has asked for its name."""
        return Counter([*self.firewall.refused(), *self.names.outside()])

    def describe(self) -> str:
        """What each program is doing and what it complained of, for the message of a failed test."""
        own = [
            f"{part.name} (process {part.pid}, ended {part.ended}):\n{part.complaints()}" for part in self.components
        ]
        return "\n".join([*own, self.plane.describe()])

    def start(self, began: float) -> None:
        """Bring everything up on a control plane that runs, and wait for a node that takes pods.

        Raises:
            MachineError: A part did not come up; says what it complained of.
        """
        self._note(began, "control plane")
        self.firewall.close()
        for port in (self.plane.port, REGISTRY_PORT):
            self.firewall.allow(port)
        self.runtime.trust(self.registry.name, self.registry.authority)
        self.runtime.start()
        self.kubelet.start()
        self.proxy.start()
        self.runtime.load(self.programs.images / PAUSE)
        self._note(began, "containerd with the pause image")
        self.registry.start()
        self._note(began, "registry")
        self.apply(*first_objects(self.addresses))
        self.names.process.start()
        self.until(self._is_ready, "the node is Ready")
        self._note(began, "node Ready")
        self.until(self.names.is_ready, "the name server answers")
        self._note(began, "names")

    def stop(self) -> None:
        """End the registry; the node ends with its machine, the control plane with itself."""
        self.registry.process.kill()

    def push_probe(self) -> str:
        """Bring the image of the tests into the registry; its reference."""
        return self.registry.push(self.programs.images / PROBE, "tests/probe")

    def _note(self, began: float, reached: str) -> None:
        self.timeline.append((reached, time.monotonic() - began))

    def _is_ready(self) -> bool:
        status, body = self.plane.caller.call("GET", f"/api/v1/nodes/{NODE}")
        found = json.loads(body)["status"].get("conditions", []) if status == http.client.OK else []
        return any(one["type"] == "Ready" and one["status"] == "True" for one in found)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds, which `what` says in words.

        Raises:
            MachineError: A program of the node ended, or it takes too long.
        """
        end = time.monotonic() + PATIENCE
        while not holds():
            ended = [part.name for part in self.components if part.ended is not None]
            if ended or time.monotonic() > end:
                why = f"{' and '.join(ended)} ended" if ended else f"{PATIENCE:.0f} s passed"
                raise MachineError(f"waited until {what}, but {why}\n{self.describe()}")
            time.sleep(0.1)


@contextmanager
def real_cluster(programs: NodePrograms, options: Options | None = None) -> Iterator[RealCluster]:
    """A cluster of one real node; afterwards nothing of it is left on this machine.

    Must be entered in the main thread, since the kernel ends the programs with the thread that started them.

    Raises:
        MachineError: The node did not come up.
        ControlPlaneError: The control plane did not.
    """
    began = time.monotonic()
    with owned_folder(FOLDER) as folder:
        remove_left_cgroups(FOLDER)
        with machine(folder, (REGISTRY_NAME, SITE)) as place, network_here(place.addresses.network):
            plan = place.addresses
            network = NodeNetwork(plan.host, plan.pods, plan.services, plan.first_service)
            with control_plane(programs.cluster, replace(options or Options(), nodes=network)) as plane:
                cluster = RealCluster(programs, place, plane)
                try:
                    cluster.start(began)
                    yield cluster
                finally:
                    cluster.stop()
