"""Process 1 of the node: gives it folders of its own over those of this machine, then collects orphans.

Run by `machine.py` as a program, in new namespaces of processes, mounts and network, with the node's folder as its
argument. When it ends, the kernel ends every other process of the node, and the mounts and the network go with them.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

WRITTEN = ("lib", "log")
"""Folders of /var that containerd, the kubelet and the plugins of the pod network write to at fixed places."""
TUNED = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""Settings of the kernel that a kubelet changes for the whole machine; there is no namespace for them."""


def main(folder: Path) -> None:
    """Prepare, say so, and stay."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    # Nothing goes back to the machine from here, but from the node to its pods, as a kubelet wants it.
    mount("--make-rshared", "/")
    resolver = Path("/etc/resolv.conf").resolve()
    mount("-t", "tmpfs", "-o", "mode=755", "node", "/run")
    for name in WRITTEN:
        cover(Path("/var", name), folder / "var" / name)
    for name in TUNED:
        replace(Path("/proc/sys", name), folder / "sysctl" / name)
    replace(resolver, folder / "etc/resolv.conf")
    replace(Path("/etc/hosts"), folder / "etc/hosts")
    os.write(sys.stdout.fileno(), b"ready\n")
    while True:
        collect()
        signal.sigwait({signal.SIGCHLD})


def cover(place: Path, layer: Path) -> None:
    """Let a folder be written to without this machine seeing it."""
    upper, work = layer / "upper", layer / "work"
    for made in (upper, work):
        made.mkdir(parents=True)
    mount("-t", "overlay", "-o", f"lowerdir={place},upperdir={upper},workdir={work}", "node", str(place))


def replace(place: Path, file: Path) -> None:
    """Show another file at a place; where that file is not there yet, a copy."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(place.read_bytes())
    if not place.exists():
        # Such as what a resolver of this machine keeps in /run.
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount("--bind", str(file), str(place))


def mount(*arguments: str) -> None:
    """Call mount, and end with its words where it refuses."""
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)  # noqa: S607
    if done.returncode != 0:
        sys.exit(f"mount {' '.join(arguments)}: {done.stderr.strip()}")


def collect() -> None:
    """Take the exit codes of orphans that ended."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
