"""Two replicas under load, and a leader that stands still for longer than its lease: never two at work."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from plumbline_api.names import ExitCode, Kind
from plumbline_operator.kube.lease import LeaseTimes
from tests.cluster.client import KubeClient, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.faults.ledger import Fault
from tests.cluster.faults.quick import Orders, Quick, quick_operator
from tests.cluster.faults.witness import Witness
from tests.cluster.operating import apply, apply_inputs
from tests.cluster.proxy import Passed, proxy
from tests.support import build

pytestmark = pytest.mark.cluster

RUN = Kind.ALIGNMENT_RUN
SHORT = LeaseTimes(duration=6.0, deadline=4.0, period=0.5)
TAKEN = "lease taken"
EACH = 5
"""Runs that are applied before and after a leader stands still."""


@dataclass
class Replica:
    """One of several, behind a proxy of its own."""

    operator: Quick
    writes: list[int] = field(default_factory=list)
    """Its writes that the server carried out, by their number among those of all."""


async def test_a_leader_that_stood_still_writes_nothing_after_the_next_one_began(
    control_plane: ControlPlane,
    kube: KubeClient,
    witness: Witness,
    namespace: str,
    open_fault: Callable[[str, str], Fault],
    times: Callable[[int, int], int],
    tmp_path: Path,
) -> None:
    fault = open_fault("leader stopped for longer than its lease", "SIGSTOP, under load")
    await apply_inputs(kube, namespace)
    numbers, names = count(), [f"run-{number}" for number in range(2 * EACH * times(2, 20))]
    waiting = iter(names)
    async with proxy(control_plane) as one, proxy(control_plane) as two:
        gateways = [one, two]
        with ExitStack() as running:

            def start(place: int) -> Replica:
                orders = Orders(gateways[place].url, namespace, lease=SHORT, check_permissions=False)
                replica = Replica(running.enter_context(quick_operator(tmp_path, orders, f"replica-{next(numbers)}")))

                def note(what: Passed) -> bool:
                    if what.writes and "/leases" not in what.path:
                        replica.writes.append(next(numbers))
                    return False

                gateways[place].lose = note
                return replica

            async def add_runs() -> None:
                for _ in range(EACH):
                    await apply(kube, namespace, build.run(next(waiting)))

            leader, place = start(0), 0
            await leader.operator.until_logged(TAKEN)
            for _ in range(times(2, 20)):
                follower = start(1 - place)
                await follower.operator.until_logged("started")
                await add_runs()
                leader.operator.stop()
                await add_runs()
                await follower.operator.until_logged(TAKEN)
                await eventually(partial(has_begun, follower), 120)
                leader.operator.go_on()
                assert await leader.operator.ended() == ExitCode.UNAVAILABLE
                late = [write for write in leader.writes if write > follower.writes[0]]
                fault.count(struck=1, objects=2 * EACH, lost=len(late))
                leader, place = follower, 1 - place
            ended = await witness.until(lambda: all(made(witness, namespace, name) for name in names), 180)
    fault.count(duplicates=witness.duplicates(namespace), lost=int(not ended) + len(witness.lost(namespace)))
    fault.check()


async def has_begun(replica: Replica) -> bool:
    return bool(replica.writes)


def made(witness: Witness, namespace: str, name: str) -> bool:
    return witness.status(namespace, RUN, name).get("phase") == "Succeeded"
