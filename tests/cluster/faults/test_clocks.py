"""The operator's clock is not the API server's: an hour behind, an hour ahead, or set right in the middle of a life."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from plumbline_api.names import Kind
from tests.cluster.client import JOBS, KubeClient, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.faults.ledger import Fault
from tests.cluster.faults.life import Life, unlike
from tests.cluster.faults.witness import Witness
from tests.cluster.operating import apply, apply_inputs, connect, running_operator
from tests.support import build

pytestmark = pytest.mark.cluster

HOUR = timedelta(hours=1)
RUNTIME = replace(build.RUNTIME, egress=(), start_deadline=60)
"""With a deadline that an hour would miss."""
SKEWS = {
    "an hour behind": (-HOUR, -HOUR),
    "an hour ahead": (HOUR, HOUR),
    "an hour ahead, then set right": (HOUR, timedelta()),
    "an hour behind, then set right": (-HOUR, timedelta()),
}


async def test_a_life_comes_to_the_same_end_whatever_the_clock_says(
    control_plane: ControlPlane,
    kube: KubeClient,
    witness: Witness,
    open_fault: Callable[[str, str], Fault],
    times: Callable[[int, int], int],
) -> None:
    async def live(skew: tuple[timedelta, timedelta], fault: Fault | None) -> Object:
        life = await Life.begin(kube, witness)

        def now() -> datetime:
            ran = bool(witness.facts[life.namespace, Kind.ALIGNMENT_RUN, "base"])
            return datetime.now(UTC) + skew[ran]

        async with running_operator(connect(control_plane), life.namespace, now=now, runtime=RUNTIME):
            await life.ended()
        if fault is not None:
            life.count(fault)
        end = await life.end()
        await life.clear()
        return end

    faults = {name: open_fault(f"the clock is {name}", "the operator's clock") for name in SKEWS}
    right = (timedelta(), timedelta())
    for _ in range(times(1, 10)):
        expected, *ends = await asyncio.gather(
            live(right, None), *(live(skew, faults[name]) for name, skew in SKEWS.items())
        )
        assert unlike(expected, zip(SKEWS, ends, strict=True)) == {}
    for fault in faults.values():
        fault.check()


@pytest.mark.parametrize("skew", [-HOUR, HOUR], ids=["behind", "ahead"])
async def test_children_stay_as_long_as_they_should_by_a_wrong_clock_too(
    control_plane: ControlPlane, kube: KubeClient, witness: Witness, namespace: str, skew: timedelta
) -> None:
    """Both moments are of the operator's own clock."""
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run(ttlSecondsAfterFinished=4))
    async with running_operator(connect(control_plane), namespace, now=lambda: datetime.now(UTC) + skew):
        assert await witness.until(lambda: phase(witness, namespace) == "Succeeded", 60)
        ended = asyncio.get_running_loop().time()
        await eventually(partial(no_jobs, kube, namespace))
        assert asyncio.get_running_loop().time() - ended >= 2.5
        assert phase(witness, namespace) == "Succeeded"


async def no_jobs(kube: KubeClient, namespace: str) -> bool:
    return not await kube.items(JOBS, namespace)


def phase(witness: Witness, namespace: str) -> str:
    return str(witness.status(namespace, Kind.ALIGNMENT_RUN, "base").get("phase"))
