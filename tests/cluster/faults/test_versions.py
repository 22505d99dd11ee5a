"""Two operators of different versions, one after the other and back: nobody destroys what the other wrote."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from plumbline_api.names import Kind
from tests.cluster.client import KubeClient, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import CRD_FILES, KINDS, install_crds
from tests.cluster.faults.ledger import Fault
from tests.cluster.faults.life import NAMES, Life
from tests.cluster.faults.nodes import Nodes
from tests.cluster.faults.quick import Orders, quick_operator
from tests.cluster.faults.witness import Witness
from tests.cluster.operating import apply, apply_inputs, jobs_of
from tests.cluster.proxy import proxy
from tests.support import build

pytestmark = pytest.mark.cluster

RUN = Kind.ALIGNMENT_RUN
Opener = Callable[[str, str], Fault]
Times = Callable[[int, int], int]
NEWS = {"told": "by a newer operator", "deep": {"count": 3}}


def newer(crd: Object) -> Object:
    """A CRD with a field in its status that no operator of this version knows, and one in every row of a list."""
    made = copy.deepcopy(crd)
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    for version in made["spec"]["versions"]:
        status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
        status["news"] = anything
        if "stages" in status:
            status["stages"]["items"]["properties"]["news"] = anything
    return made


@pytest.fixture
async def newer_kinds(witness: Witness, kube: KubeClient) -> AsyncIterator[None]:
    """The CRDs of a newer version, for as long as the test lasts."""
    for path in CRD_FILES.values():
        await kube.establish(newer(yaml.safe_load(path.read_text(encoding="utf-8"))))
    yield
    await install_crds(kube)


async def test_an_older_operator_keeps_what_a_newer_one_has_written(
    control_plane: ControlPlane,
    kube: KubeClient,
    witness: Witness,
    played: Nodes,
    newer_kinds: None,
    open_fault: Opener,
    times: Times,
    tmp_path: Path,
) -> None:
    fault = open_fault("a newer operator was here", "status fields that this one does not know")
    for _ in range(times(1, 10)):
        async with proxy(control_plane) as gateway:
            played.at_work = lambda _: True
            life = await Life.begin(kube, witness)
            with quick_operator(tmp_path, Orders(gateway.url, life.namespace), life.namespace):
                await jobs_of(kube, life.namespace)
                for kind, name in NAMES.items():
                    await eventually(partial(tell_news, kube, life.namespace, kind, name), 60)
                played.at_work = lambda _: False
                await life.ended()
            statuses = {kind: await kube.get(KINDS[kind], name, life.namespace) for kind, name in NAMES.items()}
            life.count(fault)
            kept = [kind for kind, thing in statuses.items() if thing["status"].get("news") == NEWS]
            rows = [row.get("news") for row in statuses[RUN]["status"]["stages"]]
            fault.count(lost=len(NAMES) - len(kept) + rows.count(None))
            await life.clear()
    fault.check()


async def tell_news(kube: KubeClient, namespace: str, kind: Kind, name: str) -> bool:
    """Write as a newer operator would: the whole status, if there is one, and more."""
    thing = await kube.get(KINDS[kind], name, namespace)
    if not thing["status"].get("conditions"):
        return False
    status = thing["status"] | {"news": NEWS}
    if "stages" in status:
        status["stages"] = [row | {"news": NEWS} for row in status["stages"]]
    await kube.merge(KINDS[kind], name, {"status": status}, namespace, "status")
    return True


async def test_a_change_of_version_and_back_ends_no_job_at_work(
    control_plane: ControlPlane,
    kube: KubeClient,
    witness: Witness,
    played: Nodes,
    namespace: str,
    open_fault: Opener,
    times: Times,
    tmp_path: Path,
) -> None:
    """Versions have different images; the Job at work was made by an earlier one."""
    fault = open_fault("operators of two versions in turn", "images of all Jobs, while one is at work")
    await apply_inputs(kube, namespace)
    names = [f"run-{number}" for number in range(3)]
    played.at_work = lambda _: True
    await apply(kube, namespace, *(build.run(name) for name in names))
    async with proxy(control_plane) as gateway:
        for number in range(times(3, 20)):
            orders = Orders(gateway.url, namespace, release=("", "newer")[number % 2])
            with quick_operator(tmp_path, orders, f"operator-{number}") as operator:
                await operator.until_logged("at work")
                await jobs_of(kube, namespace, len(names))
                await asyncio.sleep(1.0)
                operator.kill()
            fault.count(struck=1)
        played.at_work = lambda _: False
        with quick_operator(tmp_path, Orders(gateway.url, namespace, release="newest"), "last"):
            ended = await witness.until(
                lambda: all(witness.status(namespace, RUN, name).get("phase") == "Succeeded" for name in names), 120
            )
    fault.count(objects=len(names), duplicates=witness.duplicates(namespace), lost=int(not ended))
    fault.check()
