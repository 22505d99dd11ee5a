"""From a run to its Job: in bursts beside a bare client and a plain kopf operator, and at a steady rate.

The rivals take turns on one API server, and ratios of medians count: a busy machine slows all of them. Processor time
is the kernel's count for the operator's process.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bench.arena import RUNS, Arena, beginnings, burst, steady
from tests.bench.goals import Goal, judge, median, spread
from tests.bench.rivals import Rival, bare_client, plain_kopf, plumbline
from tests.cluster.client import KubeClient

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

ROUNDS = {1_000: 3, 5_000: 1}
RATE, SECONDS = 50, 10
REST = 2.0
"""Seconds after the last Job in which an operator ends what it is at: what that takes is counted."""


@dataclass(frozen=True)
class Round:
    """What one rival did with one burst."""

    rate: float
    """Runs that got their Jobs, a second."""
    cpu: float
    """Seconds of its processor time for each."""
    server: float
    """Seconds of the API server's and of etcd's for each."""
    everybody: float
    """Seconds of all processes for each, with whoever made the runs: what bounds the rate where all cores are busy."""


async def play(area: Arena, kube: KubeClient, rival: Rival, folder: Path, count: int) -> Round:
    async with area.namespace(kube) as namespace:
        lives = await beginnings(namespace, count)
        async with rival(area, kube, namespace, folder) as worker:
            before = [worker.cpu(), area.server_cpu(), time.process_time()]
            taken = await burst(kube, namespace, lives, worker.reaction)
            await asyncio.sleep(REST)
            after = [worker.cpu(), area.server_cpu(), time.process_time()]
            own, server, maker = ((end - begin) / count for begin, end in zip(before, after, strict=True))
            found = Round(count / taken, own, server, server + maker + (own if worker.pid else 0.0))
        if rival is not plain_kopf:
            told = await kube.items(RUNS, namespace)
            assert all("phase" in (run.get("status") or {}) for run in told), "a status is missing"
    return found


@pytest.mark.parametrize("count", list(ROUNDS))
async def test_a_burst_beside_a_bare_client_and_a_plain_kopf_operator(
    area: Arena, kube: KubeClient, tmp_path: Path, count: int
) -> None:
    rounds: dict[Rival, list[Round]] = {bare_client: [], plumbline: [], plain_kopf: []}
    for _ in range(ROUNDS[count]):
        for rival, results in rounds.items():
            results.append(await play(area, kube, rival, tmp_path, count))
    rate = {rival: median([one.rate for one in results]) for rival, results in rounds.items()}
    cpu = {rival: median([one.cpu for one in results]) for rival, results in rounds.items()}
    rates = {rival: spread([one.rate for one in results]) for rival, results in rounds.items()}
    costs = {rival: spread([1e3 * one.cpu for one in results]) for rival, results in rounds.items()}
    whole = {rival: 1e3 * median([one.everybody for one in results]) for rival, results in rounds.items()}
    server = 1e3 * median([one.server for one in rounds[plumbline]])
    judge(
        f"a burst of {count:,} runs; processor time of all processes for a run: bare client {whole[bare_client]:.1f}, "
        f"plumbline {whole[plumbline]:.1f} (API server {server:.1f}), kopf {whole[plain_kopf]:.1f} ms",
        Goal(
            "throughput, of a bare client's", rate[plumbline] / rate[bare_client], 0.85, "times", least=True,
            remark=f"{rates[plumbline]} against {rates[bare_client]} runs/s",
        ),
        Goal(
            "throughput, of a plain kopf operator's", rate[plumbline] / rate[plain_kopf], 1.2, "times", least=True,
            remark=f"{rates[plumbline]} against {rates[plain_kopf]} runs/s",
        ),
        Goal(
            "processor time, of that kopf operator's", cpu[plumbline] / cpu[plain_kopf], 0.4, "times",
            remark=f"{costs[plumbline]} against {costs[plain_kopf]} ms a run",
        ),
    )  # fmt: skip


async def test_fifty_runs_a_second(area: Arena, kube: KubeClient, tmp_path: Path) -> None:
    slowest: dict[Rival, list[float]] = {bare_client: [], plumbline: []}
    for _ in range(3):
        for rival, found in slowest.items():
            async with area.namespace(kube) as namespace:
                lives = await beginnings(namespace, RATE * SECONDS)
                async with rival(area, kube, namespace, tmp_path) as worker:
                    taken = await steady(kube, namespace, lives, RATE, worker.reaction)
                found.append(sorted(taken)[len(taken) * 99 // 100])
    over = 1e3 * (median(slowest[plumbline]) - median(slowest[bare_client]))
    shown = {rival: spread([1e3 * one for one in found]) for rival, found in slowest.items()}
    judge(
        f"{RATE} runs a second for {SECONDS} s",
        Goal(
            "p99 from a run to its Job, over the bare client's", over, 50, "ms",
            remark=f"{shown[plumbline]} against {shown[bare_client]} ms",
        ),
    )  # fmt: skip
