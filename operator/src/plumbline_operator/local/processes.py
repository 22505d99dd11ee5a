"""What Linux must be asked for about processes: death signals, memory in use, what is left of an attempt.

Used by `pod` and by `attempts`. Standard library only, so that a pod starts fast.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = [
    "ATTEMPT_VARIABLE",
    "adopt_orphans",
    "die_with_parent",
    "end_group",
    "kernel_kills",
    "kill_children",
    "kill_marked",
    "memory_of",
    "prepare_container",
]

ATTEMPT_VARIABLE = "PLUMBLINE_ATTEMPT"
"""In the environment of every container of local mode: the folder of its attempt. Finds what outlived its pod."""

_SET_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36
_FIRST_TO_GO = b"800"
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: signal.Signals, parent: int) -> bool:
    """Have the kernel send this process a signal when its parent dies; False where the parent is already gone."""
    _LIBC.prctl(_SET_DEATH_SIGNAL, int(number), 0, 0, 0)
    return os.getppid() == parent


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none gets out of sight."""
    _LIBC.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def prepare_container(parent: int) -> Callable[[], None]:
    """What a container's process does between fork and exec: die with its pod, and go first when memory runs out."""

    def prepare() -> None:
        if not die_with_parent(signal.SIGKILL, parent):
            os._exit(128 + signal.SIGKILL)
        os.umask(0o077)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError):
            score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
            os.write(score, _FIRST_TO_GO)
            os.close(score)

    return prepare


def end_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group; nothing happens where it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def memory_of(pid: int) -> int:
    """Bytes that a process and its descendants hold: anonymous and shared memory, not pages of mapped files.

    Mapped weights are left out because the kernel can drop them at will.
    """
    return sum(map(_held, _tree(pid)))


def kill_children() -> None:
    """Kill and reap every child this process still has; with `adopt_orphans`, everything it ever started."""
    while True:
        for child in _children(os.getpid()):
            _kill(child)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def kill_marked(attempt: Path) -> tuple[int, ...]:
    """Kill every process that carries the mark of an attempt in its environment, and return them."""
    mark = f"{ATTEMPT_VARIABLE}={attempt}".encode()
    found = tuple(pid for pid in _pids() if mark in _environment(pid))
    for pid in found:
        _kill(pid)
    return found


def kernel_kills() -> int:
    """How many processes the kernel has killed for want of memory since the machine started."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in _children(pid):
        yield from _tree(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text(encoding="ascii").split())
    return found


def _held(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
