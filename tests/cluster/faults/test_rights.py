"""A role that lacks one verb: whatever it hinders says which, where a person looks for it."""

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from plumbline_api.names import Kind
from plumbline_operator.kube.api.client import KubeClient as OperatorClient
from plumbline_operator.kube.api.resources import CHILDREN, OURS, WATCHED
from plumbline_operator.kube.assembly import Operator
from plumbline_operator.kube.permissions import NEEDED, Permission
from plumbline_operator.kube.settings import KubeSettings
from tests.cluster.client import EVENTS, KubeClient, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.faults.ledger import Fault
from tests.cluster.faults.life import NAMES, Life
from tests.cluster.faults.nodes import Nodes
from tests.cluster.faults.witness import Witness
from tests.cluster.operating import condition_of, connect, jobs_of, running_operator
from tests.cluster.roles import give_role
from tests.support import build

pytestmark = pytest.mark.cluster

RUN = Kind.ALIGNMENT_RUN
CHILD_PLURALS: Final = frozenset(child.plural for child in CHILDREN.values())
ON_CHILDREN: Final = tuple(one for one in NEEDED if one.resource in CHILD_PLURALS)
TOLD_IN_A_CONDITION: Final = tuple(
    one for one in ON_CHILDREN if one.verb in ("create", "get", "patch") and (one.verb, one.resource) != ("get", "jobs")
)
"""A Job is got only where another one has its name."""
DELETED: Final = tuple(one for one in ON_CHILDREN if (one.verb, one.resource) == ("delete", "jobs"))
AT_ONCE: Final = 5
PATIENCE: Final = 120.0


def names_it(thing: Object, lacking: Permission) -> bool:
    """Whether a condition says what is missing, and what to do about it."""
    stalled = condition_of(thing, "Stalled")
    words = (f"may not {lacking.verb} {lacking.resource}", f"add the verb {lacking.verb} on {lacking.resource}")
    return stalled.get("reason") == "NotPermitted" and all(word in stalled["message"] for word in words)


async def test_a_verb_that_is_missing_is_named_in_the_condition_of_what_it_hinders(
    control_plane: ControlPlane,
    kube: KubeClient,
    witness: Witness,
    played: Nodes,
    open_fault: Callable[[str, str], Fault],
) -> None:
    """The verb of deletion is needed when a run is suspended; all others on the way to Serving."""

    async def live(lacking: Permission) -> None:
        async with turns:
            life = await Life.begin(kube, witness)
            user = f"operator-{life.namespace}"
            held.update([life.namespace] if lacking in DELETED else [])
            await give_role(kube, life.namespace, user, lacking)
            login = connect(control_plane, control_plane.authority.issue(user))
            async with running_operator(login, life.namespace, runtime=build.RUNTIME):
                if lacking in DELETED:
                    await jobs_of(kube, life.namespace)
                    await kube.merge(KINDS[RUN], NAMES[RUN], {"spec": {"suspend": True}}, life.namespace)
                told = await witness.until(lambda: tells(life, lacking), PATIENCE)
            fault.count(struck=1, objects=len(NAMES), lost=int(not told))
            unnamed.extend([] if told else [str(lacking)])
            await life.clear()

    def tells(life: Life, lacking: Permission) -> bool:
        return any(names_it({"status": witness.status(life.namespace, *one)}, lacking) for one in NAMES.items())

    fault = open_fault("a verb missing in the role", "each on a child, one at a time")
    turns, unnamed, held = asyncio.Semaphore(AT_ONCE), list[str](), set[str]()
    played.at_work = lambda pod: pod["metadata"]["namespace"] in held
    await asyncio.gather(*map(live, (*TOLD_IN_A_CONDITION, *DELETED)))
    assert unnamed == []
    fault.check()


@pytest.mark.parametrize("kind", Kind)
async def test_a_status_that_may_not_be_written_is_told_by_an_event(
    control_plane: ControlPlane, kube: KubeClient, witness: Witness, kind: Kind
) -> None:
    life = await Life.begin(kube, witness)
    user = f"operator-{life.namespace}"
    await give_role(kube, life.namespace, user, Permission(OURS[kind].group, f"{OURS[kind].plural}/status", "update"))
    login = connect(control_plane, control_plane.authority.issue(user))

    async def is_told() -> bool:
        events = await kube.items(EVENTS, life.namespace)
        ours = [one for one in events if (one["involvedObject"]["kind"], one["reason"]) == (kind, "NotPermitted")]
        return any(f"add the verb update on {OURS[kind].plural}/status" in one["message"] for one in ours)

    async with running_operator(login, life.namespace):
        await eventually(is_told, PATIENCE)
    await life.clear()


@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_what_may_not_be_watched_is_named_by_the_probe(
    control_plane: ControlPlane, kube: KubeClient, witness: Witness, namespace: str, verb: str
) -> None:
    user = f"operator-{namespace}"
    missing = [Permission(what.resource.group, what.resource.plural, verb) for what in WATCHED]
    await give_role(kube, namespace, user, *missing)
    login = connect(control_plane, control_plane.authority.issue(user))
    settings = KubeSettings(runtime=build.RUNTIME, namespaces=(namespace,), host="127.0.0.1", port=0)
    operator = Operator(settings, connect=lambda count: OperatorClient(login, count=count))
    try:
        await operator.start()

        async def names_all() -> bool:
            said = set(operator.health().problems)
            wanted = {
                f"the operator may not {verb} {what.resource.title} in namespace {namespace}; add it to its role"
                for what in WATCHED
            }
            return wanted <= said and not operator.health().ready

        await eventually(names_all, 60)
    finally:
        await operator.stop()
