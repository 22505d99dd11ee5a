"""Kill -9 after every single call of a whole life; and again and again at random moments under load."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from plumbline_api.names import Kind
from tests.cluster.client import KubeClient, Object
from tests.cluster.controlplane import ControlPlane
from tests.cluster.faults.ledger import Fault
from tests.cluster.faults.life import Life, unlike
from tests.cluster.faults.quick import Orders, Quick, quick_operator
from tests.cluster.faults.witness import Witness
from tests.cluster.operating import apply, apply_inputs
from tests.cluster.proxy import Passed, proxy
from tests.support import build

pytestmark = pytest.mark.cluster

AT_ONCE = 6
ADDED = 5
"""Runs that are applied between two kills under load."""
STAGES = 2
REVIEW = "selfsubjectaccessreviews"
EVERY_CALL = 3
"""How often each is struck with --all-faults."""
TOLD_APART = 2
"""Events that are struck, of a dozen in a life: nothing depends on any."""


@dataclass(frozen=True)
class Call:
    """One call of a life: the how-manieth of its kind."""

    method: str
    path: str
    watch: bool
    number: int

    @property
    def alike(self) -> bool:
        """Whether others stand for it: reviews, lists and watches of a start, and events."""
        if self.path.endswith("/events"):
            return self.number > TOLD_APART
        reads = self.method == "GET" and self.path.startswith(("/api/v1/namespaces", "/apis/")) and not self.named
        return (reads and not self.path.endswith("/jobs")) or (REVIEW in self.path and self.number > 1)

    @property
    def named(self) -> bool:
        """Whether it is about one object."""
        return len(self.path.partition("/namespaces/")[2].split("/")) > len(("NAMESPACE", "plural"))

    def __str__(self) -> str:
        return f"{'WATCH' if self.watch else self.method} {self.path} ({self.number})"


def kind_of(what: Passed, namespace: str) -> tuple[str, str, bool]:
    return what.method, what.path.replace(namespace, "NAMESPACE"), what.watch


def calls_of(passed: list[tuple[Passed, int]], namespace: str) -> list[Call]:
    """Every call of a life, in its order."""
    numbers: Counter[tuple[str, str, bool]] = Counter()
    found = []
    for what, _ in passed:
        kind = kind_of(what, namespace)
        numbers[kind] += 1
        found.append(Call(*kind, numbers[kind]))
    return found


def striking(call: Call, namespace: str, operator: Quick, struck: asyncio.Event) -> Callable[[Passed], bool]:
    """Kill the operator once the server has carried out that call, and before its answer can be read."""
    numbers = 0

    def strike(what: Passed) -> bool:
        nonlocal numbers
        numbers += kind_of(what, namespace) == (call.method, call.path, call.watch)
        if numbers == call.number and not struck.is_set():
            operator.kill()
            struck.set()
        return struck.is_set()

    return strike


@dataclass(frozen=True)
class Killing:
    """What lives with a kill have in common."""

    plane: ControlPlane
    kube: KubeClient
    witness: Witness
    folder: Path
    fault: Fault
    turns: asyncio.Semaphore

    async def undisturbed(self) -> tuple[list[Call], Object]:
        """The calls of a life, and its end."""
        async with proxy(self.plane) as gateway:
            life = await Life.begin(self.kube, self.witness)
            with quick_operator(self.folder, Orders(gateway.url, life.namespace)):
                assert await life.ended(), life.missing
            return calls_of(gateway.passed, life.namespace), await life.end()

    async def kill_after(self, call: Call) -> tuple[bool, Object]:
        """A life whose operator is killed after that call, and followed by another; whether it was, and the end."""
        async with self.turns, proxy(self.plane) as gateway:
            life = await Life.begin(self.kube, self.witness)
            orders = Orders(gateway.url, life.namespace, check_permissions=REVIEW in call.path)
            struck = asyncio.Event()
            with quick_operator(self.folder, orders, f"{life.namespace}-killed") as operator:
                gateway.lose = striking(call, life.namespace, operator, struck)
                gone = asyncio.create_task(struck.wait())
                over = asyncio.create_task(life.ended())
                await asyncio.wait((gone, over), return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                over.cancel()
            gateway.lose = lambda _: False
            if struck.is_set():
                with quick_operator(self.folder, orders, f"{life.namespace}-next"):
                    await life.ended()
            life.count(self.fault, struck=int(struck.is_set()))
            end = await life.end()
            await life.clear()
            return struck.is_set(), end


async def test_a_kill_after_any_call_loses_nothing_and_doubles_nothing(
    control_plane: ControlPlane,
    kube: KubeClient,
    witness: Witness,
    open_fault: Callable[[str, str], Fault],
    times: Callable[[int, int], int],
    tmp_path: Path,
) -> None:
    """Each call of a life is struck in a life of its own, so that what is done then is done by somebody else."""
    fault = open_fault("killed after a call, its answer unread", "every call of a life")
    killing = Killing(control_plane, kube, witness, tmp_path, fault, asyncio.Semaphore(AT_ONCE))
    calls, end = await killing.undisturbed()
    rounds = times(1, EVERY_CALL)
    wanted = calls * rounds if rounds > 1 else [call for call in calls if not call.alike]
    assert len(wanted) >= 35
    ends = await asyncio.gather(*map(killing.kill_after, wanted))
    assert unlike(end, ((call, other) for call, (_, other) in zip(wanted, ends, strict=True))) == {}
    # How often a status is written varies with what is seen together; every kind of call is struck all the same.
    missed = [call for call, (struck, _) in zip(wanted, ends, strict=True) if not struck]
    assert [str(call) for call in missed if call.number == 1] == []
    assert len(missed) <= len(wanted) / 10
    fault.check()


async def test_an_operator_that_is_killed_again_and_again_under_load_brings_every_run_to_its_end(
    control_plane: ControlPlane,
    kube: KubeClient,
    witness: Witness,
    namespace: str,
    open_fault: Callable[[str, str], Fault],
    times: Callable[[int, int], int],
    tmp_path: Path,
) -> None:
    """Runs are applied all the time; the moments of the kills are drawn, and the same in every session."""
    fault = open_fault("killed at random moments under load", "a process that begins, and one at work")
    random, kills = Random(4), times(12, 100)
    names = [f"run-{number}" for number in range(kills * ADDED)]
    await apply_inputs(kube, namespace)
    async with proxy(control_plane) as gateway:
        orders = Orders(gateway.url, namespace, check_permissions=False)
        for number in range(kills):
            with quick_operator(tmp_path, orders, f"operator-{number}") as operator:
                await apply(kube, namespace, *(build.run(name, STAGES) for name in names[number * ADDED :][:ADDED]))
                if number % 4:
                    await operator.until_logged("at work")
                await asyncio.sleep(random.uniform(0.0, 1.0))
                operator.kill()
        with quick_operator(tmp_path, orders, "last"):

            def missing() -> list[str]:
                return [one for one in names if len(witness.facts[namespace, Kind.ALIGNMENT_RUN, one]) <= STAGES]

            await witness.until(lambda: not missing(), 60 + len(names))
    lost = missing() + witness.lost(namespace)
    fault.count(struck=kills, objects=len(names), duplicates=witness.duplicates(namespace), lost=len(lost))
    assert len(witness.jobs[namespace]) == len(names) * STAGES
    fault.check()
