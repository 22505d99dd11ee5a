"""How many writes each step of a run's life costs, with all controllers at work; events are told besides."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from plumbline_api.model import canonical_json
from plumbline_api.names import Kind
from plumbline_operator.kube.assembly import Operator
from tests.bench.goals import Goal, judge
from tests.cluster.client import NAMESPACES, PODS, SERVICE_ACCOUNTS, KubeClient, eventually
from tests.cluster.controlplane import ControlPlane, control_plane
from tests.cluster.crds import install_crds
from tests.cluster.operating import apply, apply_inputs, mark_pod, running_operator, status_where
from tests.cluster.pods import stand_in_node
from tests.cluster.programs import find_programs, unsupported
from tests.cluster.proxy import Proxy, proxy
from tests.support import build

pytestmark = pytest.mark.bench

NAMESPACE = "writes"
RUN = Kind.ALIGNMENT_RUN
STEPS = {
    "Pending": None,
    "Running": {"running": {"startedAt": "2026-01-31T12:00:00Z"}},
    "Succeeded": {
        "terminated": {
            "exitCode": 0,
            "message": canonical_json(build.training_summary("model")).decode(),
            "finishedAt": "2026-01-31T12:01:00Z",
        }
    },
}
"""The phases of a run, and what its pod has to do for each."""


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    """A whole one."""
    if reason := unsupported():
        pytest.skip(reason)
    with control_plane(find_programs()) as running:
        yield running


async def test_the_writes_of_a_run(plane: ControlPlane) -> None:
    async with plane.client() as kube, proxy(plane) as way:
        await install_crds(kube)
        await kube.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        await kube.until(SERVICE_ACCOUNTS, "default", NAMESPACE, lambda _: True)
        await apply_inputs(kube, NAMESPACE)
        found: dict[str, Counter[str]] = {}
        async with stand_in_node(kube), running_operator(way.login(), NAMESPACE) as operator:
            await apply(kube, NAMESPACE, build.run())
            before = 0
            for phase, state in STEPS.items():
                if state is not None:
                    await mark_pod(kube, await pod(kube), **state)
                await status_where(kube, NAMESPACE, RUN, "base", phase=phase)
                await settled(operator, way)
                found[phase] = Counter(one.path.rpartition("/")[2] for one in way.writes[before:])
                before = len(way.writes)
    children = {phase: sum(step.values()) - step["status"] for phase, step in found.items()}
    shown = "; ".join(f"{phase}: {children[phase]} and {step['status']}" for phase, step in found.items())
    judge(
        f"writes of each step of a run (children and statuses: {shown})",
        Goal("writes of children, in a step", max(children.values()), 2, "writes"),
        Goal("writes of the status, in a step", max(step["status"] for step in found.values()), 1, "writes"),
    )


async def pod(kube: KubeClient) -> dict[str, object]:
    return (await eventually(lambda: kube.items(PODS, NAMESPACE), 60))[0]


async def settled(operator: Operator, way: Proxy) -> None:
    """Return once the operator has nothing to do, and the Job controller neither."""

    def calls() -> int:
        # The lease is renewed, and JobSets are looked for, for ever.
        return sum(f"/namespaces/{NAMESPACE}/" in request.path for request, _ in way.passed)

    async def look() -> bool:
        before = calls()
        await asyncio.sleep(1.0)
        return calls() == before and not operator.queue.depth and not operator.queue.working

    await eventually(look, 60)
