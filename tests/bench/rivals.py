"""Who is measured: Plumbline's operator, a plain kopf operator, and a bare client that knows what to write."""

import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import orjson

from tests.bench.arena import RUNS, Arena, Life, Reaction, beginnings, bodies, burst
from tests.bench.goals import cpu_seconds
from tests.cluster.client import CONFIG_MAPS, JOBS, KubeClient, Object
from tests.cluster.operating import operator_process

__all__ = ["Rival", "Worker", "bare_client", "crowd", "plain_kopf", "plumbline"]


@dataclass(frozen=True)
class Worker:
    """A rival at work in a namespace."""

    pid: int | None = None
    """Of its process; None where the one that makes the runs does the rest, too."""
    reaction: Reaction | None = None

    def cpu(self) -> float:
        """Processor time so far, in seconds."""
        return time.process_time() if self.pid is None else cpu_seconds(self.pid)


_WITH_A_POD = {"active": 1, "ready": 0, "startTime": "2026-01-31T12:00:00Z", "uncountedTerminatedPods": {}}
"""A Job that no pod is made for is worth a word after a minute, and nothing is to happen to these."""

Rival = Callable[[Arena, KubeClient, str, Path], AbstractAsyncContextManager[Worker]]
"""Lets a rival work in a namespace; the folder is for its files."""


@asynccontextmanager
async def plumbline(area: Arena, kube: KubeClient, namespace: str, folder: Path, *flags: str) -> AsyncIterator[Worker]:
    """Our operator, as its users start it."""
    with operator_process(area.plane.kubeconfig, folder, "--namespace", namespace, *flags) as process:
        await process.until_at_work()
        await _warm_up(kube, namespace)
        yield Worker(process.popen.pid)


@asynccontextmanager
async def plain_kopf(area: Arena, kube: KubeClient, namespace: str, folder: Path) -> AsyncIterator[Worker]:
    """A kopf operator as one writes it first."""
    life = (await beginnings(namespace, 1))[0]
    template = folder / f"job-{namespace}.json"
    template.write_bytes(orjson.dumps(next(body for kind, body in life.children if kind == "Job")))
    program = Path(__file__).with_name("plain_kopf.py")
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace", namespace, str(program)]
    given = {"KUBECONFIG": str(area.plane.kubeconfig), "PLAIN_KOPF_JOB": str(template)}
    with _process(command, given, folder / f"kopf-{namespace}.log") as process:
        await _warm_up(kube, namespace)
        yield Worker(process.pid)


@asynccontextmanager
async def bare_client(area: Arena, kube: KubeClient, namespace: str, folder: Path) -> AsyncIterator[Worker]:
    """The same writes without an operator: no watch, no decision, the next call as soon as the last is answered."""

    async def write(life: Life, made: Object) -> None:
        for kind, body in bodies(life, made):
            await kube.create(JOBS if kind == "Job" else CONFIG_MAPS, body, namespace)
        known = {key: made["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        body = {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": known, "status": life.status}
        await kube.replace(RUNS, body, namespace, "status")

    yield Worker(reaction=write)


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str], path: Path) -> Iterator[Popen[bytes]]:
    with path.open("wb") as log:
        process = Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _warm_up(kube: KubeClient, namespace: str) -> None:
    """Let a rival do its first work unmeasured."""
    await burst(kube, namespace, await beginnings(namespace, 20, "warm"))


async def crowd(area: Arena, kube: KubeClient, folder: Path, count: int) -> str:
    """A namespace with so many runs at rest: each has its ConfigMap, its status, and a Job with a pod."""
    if count not in area.crowds:
        async with area.namespace(kube) as namespace, bare_client(area, kube, namespace, folder) as worker:
            begin = worker.reaction
            assert begin is not None

            async def settle(life: Life, made: Object) -> None:
                await begin(life, made)
                job = next(body for kind, body in life.children if kind == "Job")["metadata"]["name"]
                await kube.merge(JOBS, job, {"status": _WITH_A_POD}, namespace, "status")

            await burst(kube, namespace, await beginnings(namespace, count), settle)
            area.crowds[count] = namespace
    return area.crowds[count]
