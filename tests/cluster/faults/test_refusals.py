"""What is between the operator and the API server goes wrong in every way: refusals, lost answers, broken streams."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from plumbline_api.names import Kind
from plumbline_operator.kube.assembly import Operator
from tests.cluster.client import JOBS, KubeClient, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.faults.ledger import Fault
from tests.cluster.faults.life import Life, unlike
from tests.cluster.faults.quick import Orders, quick_operator
from tests.cluster.faults.witness import Witness
from tests.cluster.operating import apply, apply_inputs, jobs_of, running_operator, serve_kinds
from tests.cluster.proxy import Passed, Proxy, Refusal, proxy
from tests.support import build

pytestmark = pytest.mark.cluster

RUNS = KINDS[Kind.ALIGNMENT_RUN]
Opener = Callable[[str, str], Fault]
Times = Callable[[int, int], int]

CONFLICT: Refusal = (409, {"reason": "Conflict", "message": "the object has been modified"})
BUSY: Refusal = (429, {"reason": "TooManyRequests", "message": "busy", "details": {"retryAfterSeconds": 1}})
BROKEN: Refusal = (500, {"reason": "InternalError", "message": "etcdserver: request timed out"})
AWAY: Refusal = (503, {"reason": "ServiceUnavailable", "message": "apiserver not ready"})


class Disturbance:
    """Lets a proxy do something every so often, and counts it."""

    def __init__(self, every: int) -> None:
        self.struck = 0
        self._numbers, self._every = count(1), every

    def due(self, matters: bool = True) -> bool:  # noqa: FBT001, FBT002 - as a proxy asks
        """Whether it is time again."""
        due = matters and next(self._numbers) % self._every == 0
        self.struck += due
        return due


def refuse(refusal: Refusal, *, writes: bool) -> Callable[[Proxy], Disturbance]:
    def set_up(gateway: Proxy) -> Disturbance:
        made = Disturbance(3)
        gateway.refuse = lambda what: refusal if made.due(what.writes == writes) else None
        return made

    return set_up


def lose_answers(gateway: Proxy) -> Disturbance:
    made = Disturbance(3)
    gateway.lose = lambda what: made.due(what.writes)
    return made


def drop_streams(gateway: Proxy) -> Disturbance:
    made = Disturbance(2)

    def drop(what: Passed) -> bool:
        if made.due(what.writes):
            gateway.drop_watches()
        return False

    gateway.lose = drop
    return made


def cut_streams(gateway: Proxy) -> Disturbance:
    made = Disturbance(3)
    gateway.cut = lambda _: made.due()
    return made


def repeat_events(gateway: Proxy) -> Disturbance:
    made = Disturbance(1)
    gateway.again = lambda _: made.due()
    return made


def answer_late(gateway: Proxy) -> Disturbance:
    made = Disturbance(1)
    gateway.delay = 0.3

    def count_it(_: Passed) -> bool:
        made.due()
        return False

    gateway.lose = count_it
    return made


DISTURBANCES: dict[str, tuple[str, Callable[[Proxy], Disturbance]]] = {
    "409 Conflict": ("every third write", refuse(CONFLICT, writes=True)),
    "429 with Retry-After": ("every third write", refuse(BUSY, writes=True)),
    "500 of etcd": ("every third write", refuse(BROKEN, writes=True)),
    "503 of the API server": ("every third write", refuse(AWAY, writes=True)),
    "500 to what reads": ("every third list, watch and get", refuse(BROKEN, writes=False)),
    "carried out, the answer lost": ("every third write", lose_answers),
    "all streams dropped": ("every second write", drop_streams),
    "stream cut in the middle of a line": ("every third piece of a watch", cut_streams),
    "events told twice": ("every piece of a watch", repeat_events),
    "answers 0.3 s late": ("every call", answer_late),
}


async def test_a_life_comes_to_the_same_end_whatever_is_refused_lost_or_broken(
    control_plane: ControlPlane, kube: KubeClient, witness: Witness, open_fault: Opener, times: Times, tmp_path: Path
) -> None:
    async def live(name: str, where: str, set_up: Callable[[Proxy], Disturbance] | None) -> Object:
        async with turns, proxy(control_plane) as gateway:
            made = set_up(gateway) if set_up else Disturbance(1)
            life = await Life.begin(kube, witness)
            with quick_operator(tmp_path, Orders(gateway.url, life.namespace, check_permissions=False), life.namespace):
                await life.ended()
            end = await life.end()
            if set_up:
                life.count(faults[name], struck=made.struck)
            await life.clear()
            return end

    turns = asyncio.Semaphore(5)
    faults = {name: open_fault(name, where) for name, (where, _) in DISTURBANCES.items()}
    wanted = [(name, *disturbance) for name, disturbance in DISTURBANCES.items()] * times(1, 10)
    expected, *ends = await asyncio.gather(live("", "", None), *(live(*one) for one in wanted))
    assert unlike(expected, ((name, end) for (name, *_), end in zip(wanted, ends, strict=True))) == {}
    for fault in faults.values():
        fault.check()


async def test_a_busy_server_is_asked_again_when_it_said(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    await serve_kinds(kube)
    await apply_inputs(kube, namespace)
    busy: Refusal = (429, {**BUSY[1], "details": {"retryAfterSeconds": 3}})
    asked: list[float] = []

    def refuse_first(what: Passed) -> Refusal | None:
        if not (what.method == "POST" and what.path.endswith("/configmaps")):
            return None
        asked.append(time.monotonic())
        return busy if len(asked) == 1 else None

    async with proxy(control_plane) as gateway:
        gateway.refuse = refuse_first
        async with running_operator(gateway.login(), namespace):
            await apply(kube, namespace, build.run())
            await jobs_of(kube, namespace)
    assert asked[1] - asked[0] >= 2.9


async def test_what_vanished_while_no_watch_was_there_is_noticed(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, open_fault: Opener, times: Times
) -> None:
    """Jobs and runs are deleted while the operator is deaf, and the versions it knows are forgotten."""
    await serve_kinds(kube)
    fault = open_fault("410 Gone, with objects deleted in the gap", "every watch")
    await apply_inputs(kube, namespace)
    async with proxy(control_plane) as gateway, running_operator(gateway.login(), namespace) as operator:
        for number in range(times(2, 20)):
            kept, lost = f"kept-{number}", f"lost-{number}"
            await apply(kube, namespace, build.run(kept), build.run(lost))
            (job,) = [one for one in await jobs_of(kube, namespace, number + 2) if owner_of(one) == kept]
            name, uid = job["metadata"]["name"], job["metadata"]["uid"]
            # What it has not written yet would tell it.
            await eventually(partial(is_quiet, operator), 60)
            gateway.refuse = lambda what: AWAY if what.watch or what.method == "GET" else None
            gateway.drop_watches()
            await kube.delete(JOBS, name, namespace)
            await kube.delete(RUNS, lost, namespace)

            async def vanished(name: str = name, lost: str = lost) -> bool:
                left = await kube.items(JOBS, namespace)
                return not [job for job in left if job["metadata"]["name"] == name or owner_of(job) == lost]

            await eventually(vanished, 120)
            assert lost in [key.name for key in operator.cache.keys()], "it has not heard of anything"
            gateway.refuse = forgotten()

            async def is_made_again(name: str = name, uid: str = uid) -> bool:
                found = await kube.find(JOBS, name, namespace)
                return found is not None and found["metadata"]["uid"] != uid

            await eventually(is_made_again, 120)
            gateway.refuse = lambda _: None
            wanted = [f"kept-{one}" for one in range(number + 1)]
            await eventually(partial(knows, operator, wanted), 60)
            fault.count(struck=1, objects=2)
    fault.check()


async def knows(operator: Operator, names: list[str]) -> bool:
    return sorted(key.name for key in operator.cache.keys()) == names


async def is_quiet(operator: Operator) -> bool:
    await asyncio.sleep(0.5)
    return operator.queue.depth == operator.queue.working == 0


def owner_of(job: dict[str, dict[str, dict[str, str]]]) -> str:
    return job["metadata"]["labels"]["plumbline.dev/owner"]


def forgotten() -> Callable[[Passed], Refusal | None]:
    """Every watch that is asked for first is told that its version is too old."""
    told: set[str] = set()

    def refuse(what: Passed) -> Refusal | None:
        if not what.watch or what.path in told:
            return None
        told.add(what.path)
        return 410, {"reason": "Expired", "message": "too old resource version"}

    return refuse
