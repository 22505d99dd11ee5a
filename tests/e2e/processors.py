"""A node that says it has more processors than there are, so that what pods ask for is no hindrance."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.kubelet import NODE
from tests.e2e.realcluster import RealCluster

__all__ = ["many_processors"]

SYSTEM = Path("/sys/devices/system")
COPIED = ("meminfo", "distance")


@contextmanager
def many_processors(cluster: RealCluster, count: int) -> Iterator[None]:
    """Let the kubelet find so many; afterwards as many as there are."""
    folder = cluster.machine.folder / "processors"
    mounts = {_nodes(folder, count): SYSTEM / "node", _online(folder, count): SYSTEM / "cpu/online"}
    for source, target in mounts.items():
        cluster.machine.run("mount", "--bind", str(source), str(target))
    before = _processors(cluster)
    cluster.restart_kubelet()
    cluster.until(lambda: _processors(cluster) == str(count), f"the node has {count} processors")
    try:
        yield
    finally:
        for target in mounts.values():
            cluster.machine.run("umount", str(target))
        cluster.restart_kubelet()
        cluster.until(lambda: _processors(cluster) == before, f"the node has {before} processors again")


def _processors(cluster: RealCluster) -> str:
    node = json.loads(cluster.kubectl("get", "node", NODE, "--output=json").stdout)
    return str(node["status"]["allocatable"]["cpu"])


def _nodes(folder: Path, count: int) -> Path:
    """What Linux shows of the memory's only node and its processors."""
    here, there = SYSTEM / "node/node0", folder / "node/node0"
    for number in range(count):
        topology = there / f"cpu{number}/topology"
        topology.mkdir(parents=True)
        (topology / "core_id").write_text(f"{number}\n", encoding="ascii")
        (topology / "physical_package_id").write_text("0\n", encoding="ascii")
    for name in COPIED:
        if (here / name).exists():
            (there / name).write_bytes((here / name).read_bytes())
    return there.parent


def _online(folder: Path, count: int) -> Path:
    path = folder / "online"
    path.write_text(f"0-{count - 1}\n", encoding="ascii")
    return path
