"""The cgroup under which a node keeps its pods, in the first version of cgroups and in the second."""

import tempfile
import time
from pathlib import Path

__all__ = ["cgroup_folders", "make_cgroup", "remove_cgroup", "remove_left_cgroups"]

MOUNTS = Path("/proc/mounts")
COPIED = ("cpuset.cpus", "cpuset.mems")
"""Without these no process may enter; a child of the first version does not take them over."""
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")
PATIENCE = 10.0


def make_cgroup(name: str) -> None:
    """Make it in every hierarchy."""
    for hierarchy in _hierarchies():
        made = hierarchy / name
        made.mkdir(exist_ok=True)
        for file in COPIED:
            if (made / file).exists() and not (hierarchy / "cgroup.controllers").exists():
                (made / file).write_text((hierarchy / file).read_text(encoding="ascii"), encoding="ascii")
        _enable(hierarchy)


def remove_cgroup(name: str) -> None:
    """Remove it with all below it; its processes have ended, which the kernel may notice a moment later."""
    end = time.monotonic() + PATIENCE
    while _still_there(name) and time.monotonic() < end:
        time.sleep(0.02)


def remove_left_cgroups(prefix: str) -> None:
    """Remove those whose nodes are gone: a node lives in a temporary folder of the same name."""
    for folder in cgroup_folders(f"{prefix}*"):
        if not Path(tempfile.gettempdir(), folder.name).exists():
            _remove(folder)


def cgroup_folders(pattern: str) -> list[Path]:
    """The folders of a name in all hierarchies."""
    return [folder for hierarchy in _hierarchies() for folder in hierarchy.glob(pattern) if folder.is_dir()]


def _still_there(name: str) -> bool:
    for folder in cgroup_folders(name):
        _remove(folder)
    return bool(cgroup_folders(name))


def _remove(folder: Path) -> None:
    below = [path for path in folder.rglob("*") if path.is_dir()]
    for path in [*sorted(below, reverse=True), folder]:
        try:
            path.rmdir()
        except OSError:
            continue


def _hierarchies() -> list[Path]:
    """Where cgroups are mounted: one folder for the second version, one per controller for the first."""
    mounts = [line.split()[1:3] for line in MOUNTS.read_text(encoding="utf-8").splitlines()]
    return [Path(place) for place, kind in mounts if kind in ("cgroup", "cgroup2")]


def _enable(hierarchy: Path) -> None:
    """Let children have controllers, in the second version."""
    switch = hierarchy / "cgroup.subtree_control"
    if not switch.exists():
        return
    for controller in set(CONTROLLERS) & set((hierarchy / "cgroup.controllers").read_text(encoding="ascii").split()):
        switch.write_text(f"+{controller}", encoding="ascii")
