"""What a pod process is told (PodPlan) and what it leaves (PodResult), as JSON files of its attempt's folder.

Written and read by `attempts`, read and written by `pod`. Standard library only, so that a pod starts fast.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

__all__ = [
    "CANNOT_RECORD", "LOCK_FILE", "PLAN_FILE", "RESULT_FILE", "Cause", "ContainerPlan", "PodPlan", "PodResult", "Probe",
    "log_file", "progress_file", "termination_file",
]  # fmt: skip

PLAN_FILE: Final = "pod.json"
RESULT_FILE: Final = "result.json"
LOCK_FILE: Final = "lock"
CANNOT_RECORD: Final = 73
"""Exit code of a pod process that could not write its result (EX_CANTCREAT)."""


def log_file(attempt: Path, container: str) -> Path:
    """Where the output of a container goes, both streams in the order in which they were written."""
    return attempt / "logs" / f"{container}.log"


def termination_file(attempt: Path, container: str) -> Path:
    """Where a container leaves its summary."""
    return attempt / "termination" / container


def progress_file(attempt: Path, container: str) -> Path:
    """Where a container appends its progress."""
    return attempt / "progress" / f"{container}.jsonl"


@dataclass(frozen=True)
class Probe:
    """An HTTP request that a container answers with 2xx or 3xx once it is up."""

    path: str
    port: int
    period: float
    failures: int
    timeout: float = 1.0


@dataclass(frozen=True)
class ContainerPlan:
    """One container: everything is expanded and every path is a path of this machine."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    sidecar: bool = False
    """Started before the others, ended after them."""
    startup: Probe | None = None
    memory: int | None = None
    """Most bytes its processes may hold together."""


@dataclass(frozen=True)
class PodPlan:
    """One attempt at running a pod."""

    containers: tuple[ContainerPlan, ...]
    grace: float
    """Seconds between SIGTERM and SIGKILL."""
    deadline: float | None = None
    """Seconds this attempt may take."""
    memory_period: float = 0.1
    """Seconds between two looks at the memory in use."""
    led: bool = False
    """The first container leads the others: its end is theirs, and that of any other with a failure ends all."""

    def write(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, text: str) -> "PodPlan":
        """From JSON."""
        data = json.loads(text)
        data["containers"] = tuple(_container(entry) for entry in data["containers"])
        return cls(**data)


class Cause(StrEnum):
    """Why an attempt ended."""

    EXITED = "Exited"
    """Its containers ended by themselves."""
    STOPPED = "Stopped"
    """Somebody asked it to stop (or plumbline died)."""
    DEADLINE = "DeadlineExceeded"
    OUT_OF_MEMORY = "OutOfMemory"
    PROBE_FAILED = "ProbeFailed"
    """A container did not come up in time."""
    NOT_STARTED = "NotStarted"
    """A container's program could not be started."""
    LOST = "Lost"
    """The pod process ended without a word: it was killed, or the machine stopped. Written by plumbline."""


@dataclass(frozen=True)
class PodResult:
    """How an attempt ended."""

    cause: Cause
    container: str
    """The container that decided."""
    exit_code: int
    """Its exit code; 128 and the number where a signal ended it."""
    started: float
    ended: float
    message: str = ""

    def write(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, text: str) -> "PodResult":
        """From JSON."""
        data = json.loads(text)
        data["cause"] = Cause(data["cause"])
        return cls(**data)


def _container(data: dict[str, object]) -> ContainerPlan:
    fields = dict(data)
    startup = fields.pop("startup")
    argv = fields.pop("argv")
    probe = Probe(**startup) if isinstance(startup, dict) else None
    return ContainerPlan(argv=tuple(argv), startup=probe, **fields)  # type: ignore[arg-type] # our own file
