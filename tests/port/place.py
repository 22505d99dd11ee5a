"""A state directory with fake programs, and the cluster over it, for the tests of the port."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from plumbline_api.compute import Compute
from plumbline_api.names import LABEL_STAGE, Image
from plumbline_operator.decision import Child
from plumbline_operator.local.cluster import LocalCluster
from plumbline_operator.local.layout import open_layout
from plumbline_operator.local.records import key_of
from plumbline_operator.local.settings import LocalSettings, read_settings
from plumbline_operator.observed import ChildRef, JobPhase, JobState, Key, Observed
from plumbline_operator.plan.jobs import JobPlan, job
from plumbline_operator.plan.pods import PodPlan, config_map, container, http_probe, port_env
from tests.support import build
from tests.support.programs import program, starts

__all__ = [
    "OWNER",
    "TINY",
    "Place",
    "exists",
    "job_child",
    "left_running",
    "local_settings",
    "open_place",
    "parent_of",
    "sidecar",
    "submit",
    "until",
    "until_true",
    "worker",
]

OWNER = key_of(build.run())
PATIENCE = 10.0
T = TypeVar("T")
TINY = Compute(cpu="100m")


@dataclass
class Place:
    """A cluster and the folder it lives in."""

    folder: Path
    cluster: LocalCluster
    settings: LocalSettings

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    def started(self, name: str = "plumbline-trainer") -> list[int]:
        """Process ids of all starts of a program."""
        return starts(self.programs / name)

    async def sight(self, key: Key = OWNER) -> Observed:
        found = await self.cluster.observe(key)
        assert found is not None
        return found[1]

    async def job(self, name: str = "job") -> JobState:
        return next(state for state in (await self.sight()).jobs if state.name == name)

    async def ended(self, name: str = "job") -> JobState:
        """The Job once it has ended."""
        return await until(lambda: self.job(name), lambda state: state.phase in (JobPhase.SUCCEEDED, JobPhase.FAILED))


async def until(look: Callable[[], Awaitable[T]], enough: Callable[[T], object], patience: float = PATIENCE) -> T:
    """What `look` finds, as soon as it is enough."""
    end = time.monotonic() + patience
    while not enough(found := await look()):
        assert time.monotonic() < end, f"still {found}"
        await asyncio.sleep(0.02)
    return found


async def until_true(look: Callable[[], T], patience: float = PATIENCE) -> T:
    """What `look` finds, as soon as it finds something."""

    async def looked() -> T:
        return look()

    return await until(looked, bool, patience)


def local_settings(folder: Path, **changes: Any) -> LocalSettings:
    """Settings with short delays and the programs of a folder."""
    read = read_settings({**os.environ, "PLUMBLINE_LOCAL_BIN": str(folder / "bin")})
    quick = {"first_delay": 0.02, "longest_delay": 0.1, "poll": 0.05, "ending_poll": 0.02, "cores": 2}
    return replace(read, **{**quick, **changes})


@asynccontextmanager
async def open_place(folder: Path, *plans: str, **changes: Any) -> AsyncIterator[Place]:
    """A place whose trainer follows the plans; afterwards nothing of it runs."""
    if plans:
        program(folder / "bin", "plumbline-trainer", *plans)
    settings = local_settings(folder, **changes)
    layout = open_layout(folder / "state", create=True)
    cluster = LocalCluster(layout, settings, lambda: build.NOON, lambda: None)
    cluster.records.keep(build.run(), file=str(folder / "run.yaml"), uid="1", now=build.NOON)
    try:
        yield Place(folder, cluster, settings)
    finally:
        await cluster.workload.close()
    assert left_running(folder) == []


def left_running(folder: Path) -> list[str]:
    """Command lines of processes that belong to a folder: its programs and its pods."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace") if entry.name.isdigit() else ""
            if str(folder) in words and entry.name != str(os.getpid()):
                found.append(words.replace("\0", " "))
    return found


def exists(pid: int) -> bool:
    """Whether a process of this id runs (one that waits for its parent to notice its end does not)."""
    with suppress(FileNotFoundError):
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def parent_of(pid: int) -> int:
    """The id of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def worker(name: str = "worker", program_name: str = "plumbline-trainer", **more: Any) -> dict[str, Any]:
    """A container with a run file and a work folder."""
    command = [program_name, "run", "--file", "/plumbline/run/run.json", "--work", "/plumbline/work"]
    mounts = {"run": "/plumbline/run", "work": "/plumbline/work"}
    return {**container(name, "image", command, compute=TINY, mounts=mounts), **more}


def sidecar(port: str = "engine", *, period: float = 0.05, failures: int = 100) -> dict[str, Any]:
    """An engine with a startup probe."""
    made = container(
        "engine", "image", ["plumbline-engine"], compute=TINY, env=port_env({port: 8000}), ports={port: 8000}
    )
    return {
        **made,
        "startupProbe": http_probe("/health", port, period=1, failures=failures) | {"periodSeconds": period},
    }


def job_child(
    name: str = "job",
    *,
    deadline: int | None = None,
    backoff: int = 3,
    grace: float = 5,
    containers: list[dict[str, Any]] | None = None,
    sidecars: list[dict[str, Any]] | None = None,
    labels: Mapping[str, str] | None = None,
) -> tuple[Child, Child]:
    """A Job with its ConfigMap."""
    chosen = labels or {LABEL_STAGE: "s0"}
    pod = PodPlan(
        made_for=Image.TRAINER,
        labels=chosen,
        containers=containers or [worker()],
        sidecars=sidecars or [],
        config_map=name,
    )
    plan = JobPlan(name=name, namespace="default", labels=chosen, pod=pod, deadline_seconds=deadline)
    manifest = job(plan, build.RUNTIME)
    manifest["spec"]["backoffLimit"] = backoff
    manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = grace
    return (
        Child(ChildRef("ConfigMap", name), config_map(name, "default", {}, {"run.json": '{"order": 1}'})),
        Child(ChildRef("Job", name), manifest),
    )


async def submit(place: Place, *args: Any, **options: Any) -> None:
    """Apply a Job and its ConfigMap."""
    for child in job_child(*args, **options):
        await place.cluster.apply(OWNER, child)
