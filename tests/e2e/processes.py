"""The programs in containers of the node, as this machine sees them."""

from pathlib import Path

from tests.e2e.realcluster import RealCluster

__all__ = ["trainers"]


def trainers(cluster: RealCluster) -> list[int]:
    """The training programs in containers of the node, by the ids of this machine."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words, groups = (place / "cmdline").read_bytes().split(b"\0"), (place / "cgroup").read_text()
        except OSError:
            continue
        if any(word.endswith(b"plumbline-trainer") for word in words[:2]) and cluster.machine.cgroup in groups:
            found.append(int(place.name))
    return found
