"""How much memory the operator takes, how soon it is ready, and what events cost that change nothing."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.arena import RUNS, Arena, beginnings, burst
from tests.bench.goals import Goal, cpu_seconds, judge, median, resident_bytes, spread
from tests.bench.rivals import crowd, plumbline
from tests.cluster.client import KubeClient, eventually
from tests.cluster.operating import Process, operator_process

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

CROWD = 10_000
TOUCHED = 1_000
ROUNDS = 3
IDLE = 0.05
"""The share of a core below which a process does nothing worth measuring."""
SLOWEST = ("--workers", "16", "--resync", "60")
"""The least that is not refused at start."""


@contextmanager
def started(area: Arena, folder: Path, namespace: str) -> Iterator[Process]:
    """The operator of a namespace, just started."""
    with operator_process(area.plane.kubeconfig, folder, "--namespace", namespace) as process:
        yield process


async def at_rest(pid: int) -> None:
    """Return once the process has nothing to do any more."""

    async def look() -> bool:
        before = cpu_seconds(pid)
        await asyncio.sleep(1.0)
        return cpu_seconds(pid) - before <= IDLE

    await eventually(look, 300)


async def test_memory_and_start_with_ten_thousand_live_runs(area: Arena, kube: KubeClient, tmp_path: Path) -> None:
    empty, full, ready, cpu = [], [], [], []
    crowded = await crowd(area, kube, tmp_path, CROWD)
    for _ in range(ROUNDS):
        async with area.namespace(kube) as namespace:
            with started(area, tmp_path, namespace) as process:
                await process.until_at_work()
                await at_rest(process.popen.pid)
                empty.append(resident_bytes(process.popen.pid))
        begun = time.perf_counter()
        with started(area, tmp_path, crowded) as process:
            await process.until_at_work()
            ready.append(time.perf_counter() - begun)
            cpu.append(cpu_seconds(process.popen.pid))
            await at_rest(process.popen.pid)
            full.append(resident_bytes(process.popen.pid))
    each = [(after - before) / CROWD for before, after in zip(empty, full, strict=True)]
    judge(
        f"the process `plumbline operator`, and {CROWD:,} live runs with a ConfigMap, a Job and a status each",
        Goal("memory of an idle operator", median(empty) / 1e6, 80, "MB", remark=spread([one / 1e6 for one in empty])),
        Goal("memory for each further run and its children", median(each) / 1e3, 6, "kB", remark=spread(each)),
        Goal(
            "from its start to ready", median(ready), 8, "s",
            remark=f"{spread(ready)} s, of it {spread(cpu)} s of its processor time",
        ),
    )  # fmt: skip


async def test_an_event_that_changes_nothing(area: Arena, kube: KubeClient, tmp_path: Path) -> None:
    """Another tool annotates runs, as GitOps tools do; and, for comparison, somebody uses an annotation of ours."""
    cost: dict[str, list[float]] = {"example.com/seen": [], "plumbline.dev/note": []}
    namespace = await crowd(area, kube, tmp_path, TOUCHED)
    names = [run["metadata"]["name"] for run in await kube.items(RUNS, namespace)]
    with started(area, tmp_path, namespace) as process:
        await process.until_at_work()
        pid = process.popen.pid
        for number in range(ROUNDS):
            for annotation, costs in cost.items():
                await at_rest(pid)
                before = cpu_seconds(pid)
                await annotate(kube, namespace, names, {annotation: str(number)})
                await asyncio.sleep(1.0)
                costs.append(1e6 * (cpu_seconds(pid) - before) / TOUCHED)
    unseen, seen = cost.values()
    judge(
        "an event after which nothing is to be done",
        Goal(
            "processor time of an event", median(unseen), 100, "us",
            remark=f"{spread(unseen)}; {spread(seen)} where an annotation of ours makes it look",
        ),
    )  # fmt: skip


async def annotate(kube: KubeClient, namespace: str, names: Sequence[str], annotations: dict[str, str]) -> None:
    left = list(names)

    async def work() -> None:
        while left:
            await kube.merge(RUNS, left.pop(), {"metadata": {"annotations": annotations}}, namespace)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(16):
            tasks.create_task(work())


async def test_the_slowest_settings_that_are_not_refused(area: Arena, kube: KubeClient, tmp_path: Path) -> None:
    """With ten thousand other runs that are looked at once a minute."""
    rates: dict[str, list[float]] = {"slowest": [], "usual": []}
    others = await crowd(area, kube, tmp_path, CROWD)
    for _ in range(ROUNDS):
        for settings, flags in (("slowest", ("--namespace", others, *SLOWEST)), ("usual", ())):
            async with area.namespace(kube) as namespace:
                lives = await beginnings(namespace, TOUCHED)
                async with plumbline(area, kube, namespace, tmp_path, *flags) as worker:
                    assert worker.pid is not None
                    await asyncio.sleep(2.0)
                    rates[settings].append(TOUCHED / await burst(kube, namespace, lives))
    judge(
        f"a burst of {TOUCHED:,} runs with {' '.join(SLOWEST)} and {CROWD:,} other runs",
        Goal(
            "runs that get their Jobs, with the slowest settings", median(rates["slowest"]), 100, "/s", least=True,
            remark=f"{spread(rates['slowest'])}; with the usual settings and no other runs {spread(rates['usual'])}",
        ),
    )  # fmt: skip
