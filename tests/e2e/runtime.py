"""containerd on the node: its configuration, the network it gives to pods, and the registries it trusts."""

import json
import tarfile
import time
from pathlib import Path

from tests.cluster.component import Component
from tests.e2e.build.packages import PLUGINS, find_program
from tests.e2e.build.probe import PAUSE_NAME
from tests.e2e.machine import Machine, MachineError

__all__ = ["SOCKET", "ContainerRuntime"]

SOCKET = "/run/containerd/containerd.sock"
"""Inside the machine."""
PATIENCE = 30.0
UNUSED = ("aufs", "btrfs", "devmapper", "zfs")
CONFIGURATION = """\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = {disabled}
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{folder}/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{folder}/certs.d"
"""


class ContainerRuntime:
    """containerd, its process and its images."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        for name in ("cni", "certs.d"):
            (machine.folder / name).mkdir()
        configuration = machine.folder / "containerd.toml"
        configuration.write_text(_configuration(machine.folder), encoding="utf-8")
        _write_network(machine)
        self.process: Component = machine.component(_program("containerd"), ["--config", str(configuration)])

    def trust(self, registry: str, authority: Path) -> None:
        """Believe a registry whose certificate an authority has signed; at once, also while running."""
        folder = self._machine.folder / "certs.d" / registry
        folder.mkdir()
        how = f'capabilities = ["pull", "resolve"]\nca = "{authority}"\n'
        # Said twice: containerd goes on to the server itself when what it is told to ask first refuses.
        text = f'server = "https://{registry}"\n{how}[host."https://{registry}"]\n{how}'
        (folder / "hosts.toml").write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Begin, and wait until it answers."""
        self.process.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            MachineError: It does not.
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._ask("version")
            except MachineError as error:
                if self.process.ended is not None or time.monotonic() > end:
                    raise MachineError(f"containerd is not there: {error}\n{self.process.complaints()}") from error
                time.sleep(0.05)
            else:
                return

    def load(self, layout: Path) -> None:
        """Take an image in without a registry, under the name that its OCI layout says."""
        packed = self._machine.folder / f"{layout.name}.tar"
        with tarfile.open(packed, "w") as tar:
            tar.add(layout, arcname=".")
        self._ask("images", "import", str(packed))
        packed.unlink()

    def forget(self, digest: str) -> None:
        """Remove an image, so that the next pod asks its registry again; layers that others use as well stay."""
        names = self._ask("images", "ls", "--quiet", f"target.digest=={digest}").split()
        if not names:
            raise MachineError(f"the node has no image {digest}")
        self._ask("images", "rm", "--sync", *names)

    def _ask(self, *arguments: str) -> str:
        return self._machine.run("ctr", "--address", SOCKET, "--namespace", "k8s.io", *arguments)


def _configuration(folder: Path) -> str:
    return CONFIGURATION.format(
        folder=folder,
        socket=SOCKET,
        pause=PAUSE_NAME,
        plugins=_program("ptp").parent,
        disabled=json.dumps([f"io.containerd.snapshotter.v1.{name}" for name in UNUSED]),
    )


def _write_network(machine: Machine) -> None:
    """A cable to each pod. Of a bridge, replies would pass by the Service proxy where the kernel lacks br_netfilter."""
    addresses = {
        "type": "host-local",
        "dataDir": str(machine.folder / "ipam"),
        "ranges": [[{"subnet": machine.addresses.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    network = {"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": addresses}]}
    (machine.folder / "cni/10-pods.conflist").write_text(json.dumps(network), encoding="utf-8")


def _program(name: str) -> Path:
    found = find_program(name)
    if found is None:
        raise MachineError(f"{name} is not installed (looked in {', '.join(PLUGINS)} and on the PATH); run: make e2e")
    return Path(found)
