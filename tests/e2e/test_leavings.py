import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.build.packages import find_program
from tests.e2e.cgroups import cgroup_folders
from tests.e2e.pods import PULL_SECRET, probe_pod, running_pod
from tests.e2e.programs import NodePrograms
from tests.e2e.realcluster import RealCluster, real_cluster
from tests.support.checkout import ROOT

pytestmark = pytest.mark.e2e

PATIENCE = 30.0
PLACES = ("/run/containerd", "/run/netns", "/var/lib/cni", "/var/lib/kubelet", "/var/log/pods", "/opt/containerd")
"""Where the programs of a node write, if one lets them."""
TUNED = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
DOOMED = """
import sys
from tests.e2e.programs import find_node_programs
from tests.e2e.realcluster import real_cluster
with real_cluster(find_node_programs()) as cluster:
    cluster.push_probe()
    node = cluster.machine
    print(cluster.addresses.network, node.folder, cluster.plane.folder, node.namespace, flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class State:
    """What of this machine's own a node could leave changed."""

    tables: str
    places: frozenset[str]
    tuned: tuple[str, ...]


def test_a_node_leaves_nothing_behind_though_another_was_killed(
    node_programs: NodePrograms, cluster: RealCluster
) -> None:
    before = state()
    with subprocess.Popen(
        [sys.executable, "-c", DOOMED], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as doomed:
        assert doomed.stdout is not None
        network, *marks = doomed.stdout.readline().split()
        folder = Path(marks[0])
        assert processes(marks), "there was nothing to end"
        doomed.send_signal(signal.SIGKILL)
    wait_until(lambda: not processes(marks) and not traces(network, folder))
    # What is no process stays until the next one, which takes nothing from one that lives.
    assert folder.exists()
    with real_cluster(node_programs) as other:
        assert not folder.exists()
        assert not cgroup_folders(folder.name)
        asyncio.run(use(other))
        assert traces(other.addresses.network, other.machine.folder), "there was nothing to remove"
        own = [str(other.machine.folder), str(other.plane.folder), other.machine.namespace]
        assert processes(own[2:]), "there was nothing to end"
        assert cgroup_folders(f"{other.machine.cgroup}/kubepods*")
    assert not processes(own)
    assert not other.machine.folder.exists()
    assert not cgroup_folders(other.machine.cgroup)
    assert not traces(other.addresses.network, other.machine.folder)
    assert state() == before
    assert processes([cluster.machine.namespace]), "the wrong one was ended"


async def use(cluster: RealCluster) -> None:
    """Let a pod run there that has a network, a volume and a secret."""
    cluster.apply({"apiVersion": "v1", **cluster.registry.pull_secret(PULL_SECRET)})
    volume = {"name": "scratch", "emptyDir": {"medium": "Memory"}}
    async with cluster.client() as kube:
        await running_pod(kube, "default", probe_pod("lives", cluster.push_probe(), "count", volumes=[volume]))


def state() -> State:
    """As it is now."""
    return State(
        tables=said("nft", "list", "tables"),
        places=frozenset(place for place in PLACES if Path(place).exists()),
        tuned=tuple(Path("/proc/sys", name).read_text(encoding="ascii") for name in TUNED),
    )


def traces(network: str, folder: Path) -> list[str]:
    """Routes into a node's network, which take its cable with them, and mounts in its folder."""
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    within = network.removesuffix("0.0/16")
    found = [line for line in said("ip", "route").splitlines() if line.startswith(within)]
    return [*found, *(line for line in mounts if str(folder) in line)]


def said(program: str, *arguments: str) -> str:
    """What a command prints."""
    found = find_program(program)
    assert found
    return subprocess.run([found, *arguments], check=True, capture_output=True, text=True).stdout


def processes(marks: list[str]) -> list[int]:
    """Every process on this machine whose command names one of these, or whose namespace is one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            namespace = str((entry / "ns/pid").readlink())
        except OSError:
            continue
        if any(mark in command or mark == namespace for mark in marks):
            found.append(int(entry.name))
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once it holds; fail where it does not."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
