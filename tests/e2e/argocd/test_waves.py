"""A team's work in sync waves, from the first commit to a served model, by the real Argo CD.

The repository is examples/gitops. The operator runs as a process with the chart's account, because its image cannot run
on a node of processes; so the chart's Deployment has no replicas here. Training, evaluation and serving are real.
"""

from collections.abc import Callable
from typing import Any

import pytest

from plumbline_api.names import Kind
from tests.cluster.client import CONFIG_MAPS, JOBS, PODS, KubeClient, Object, eventually
from tests.cluster.crds import KINDS
from tests.cluster.node import Node
from tests.e2e.argocd.applications import APPLICATIONS, Record, operations_of_looking_again, recorded, refresh, until
from tests.e2e.argocd.installation import Platform
from tests.e2e.argocd.processes import NAMESPACE
from tests.e2e.argocd.site import TEAM

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NAME = "task-assistant"
GATE = f"teams/{TEAM}/4-gate.yaml"
LONGEST = 300.0
STRICT = {"metric": "legitimate_completion_rate", "atLeast": "0.95"}
"""What so small a model cannot do."""
RUNS, GATES, SERVED = (KINDS[kind] for kind in (Kind.ALIGNMENT_RUN, Kind.EVAL_GATE, Kind.GUARDED_INFERENCE))


async def test_a_team_goes_from_a_commit_to_a_served_model(
    platform: Platform, kube: KubeClient, node: Node, tell: Callable[[str], None]
) -> None:
    site = platform.site
    rules = site.read(GATE)["spec"]["rules"]
    set_rules(platform, [*rules, STRICT])
    site.add_team()
    site.commit("A team, whose gate asks for too much")
    await refresh(kube, "plumbline")
    async with recorded(kube, TEAM) as record, recorded(kube, "plumbline") as root:
        await waves_wait(platform, kube, record, node)
        await a_failed_gate_stops_the_wave(platform, kube, node)
        await the_action_retry_evaluates_again(platform, kube)
        assert record.drifted == []
        assert len(record.operations) == 1
        set_rules(platform, rules)
        site.commit("Ask for what can be had")
        await refresh(kube, TEAM)
        await until(kube, TEAM, lambda now: (now.sync, now.health) == ("Synced", "Healthy"), LONGEST, node.describe)
        assert await kube.find(SERVED, NAME, TEAM)
        await what_leaves_git_leaves_the_cluster(platform, kube)
        assert await operations_of_looking_again(kube, record) == [], record.shown()
    assert root.drifted == []
    levels = platform.argocd.refreshes(TEAM)
    tell(record.shown())
    tell(f"reconciliations of the whole loop by level: { {level: levels.count(level) for level in set(levels)} }")


def set_rules(platform: Platform, rules: list[Any]) -> None:
    """Write the gate anew; `commit` publishes it."""
    gate = platform.site.read(GATE)
    platform.site.write(GATE, {**gate, "spec": {**gate["spec"], "rules": rules}})


async def waves_wait(platform: Platform, kube: KubeClient, record: Record, node: Node) -> None:
    """While a run is at work, its operation waits for it, and what comes later is not there.

    Right after a wave is applied, the message names what comes next instead; so the objects are looked at, too.
    """
    waits = "waiting for healthy state of plumbline.dev/AlignmentRun/task-assistant"
    await until(kube, TEAM, lambda now: now.message.startswith(waits), LONGEST, platform.argocd.describe)
    await kube.until(RUNS, NAME, TEAM, lambda run: run.get("status"), LONGEST)
    assert not await kube.find(GATES, NAME, TEAM)
    await kube.until(GATES, NAME, TEAM, lambda _: True, LONGEST)
    for run in (NAME, f"{NAME}-base"):
        assert (await kube.get(RUNS, run, TEAM))["status"]["phase"] == "Succeeded", node.describe()
    assert not await kube.find(SERVED, NAME, TEAM)
    waits = "waiting for healthy state of plumbline.dev/EvalGate/task-assistant"
    await until(kube, TEAM, lambda now: now.message == waits, LONGEST, record.shown)


async def a_failed_gate_stops_the_wave(platform: Platform, kube: KubeClient, node: Node) -> None:
    """The operation fails with the gate's reason, and nothing is served."""
    found = await until(kube, TEAM, lambda now: now.phase == "Failed", LONGEST, node.describe)
    results = {(one["kind"], one["name"]): one for one in found["status"]["operationState"]["syncResult"]["resources"]}
    told = results["EvalGate", NAME]["message"]
    assert told.startswith("ThresholdViolated: legitimate_completion_rate atLeast 0.95: observed 0"), told
    await until(kube, TEAM, lambda now: (now.sync, now.health) == ("OutOfSync", "Degraded"), 30)
    assert ("GuardedInference", NAME) not in results
    assert not await kube.find(SERVED, NAME, TEAM)
    shown = platform.argocd.cli("app", "get", TEAM)
    line = next(line for line in shown.splitlines() if "EvalGate" in line)
    assert "Degraded" in line
    assert "ThresholdViolated: legitimate_completion_rate" in line


async def the_action_retry_evaluates_again(platform: Platform, kube: KubeClient) -> None:
    """By Argo CD's own server: the action is offered, and makes a new attempt."""
    words = ("--kind", "EvalGate", "--resource-name", NAME)
    offered = platform.argocd.cli("app", "actions", "list", TEAM, *words)
    assert "retry" in offered
    before = await kube.get(GATES, NAME, TEAM)
    platform.argocd.cli("app", "actions", "run", TEAM, "retry", *words)
    attempt = before["status"].get("attempt", 1) + 1

    def evaluated(gate: Object) -> bool:
        return bool(gate["status"].get("attempt") == attempt and gate["status"].get("verdict") == "Failed")

    after = await kube.until(GATES, NAME, TEAM, evaluated, LONGEST)
    assert after["metadata"]["annotations"]["plumbline.dev/retry"].startswith("argocd-")
    assert after["spec"] == before["spec"]


async def what_leaves_git_leaves_the_cluster(platform: Platform, kube: KubeClient) -> None:
    """The last wave first; Jobs and pods follow their owners, and the rest stays as it is."""
    base = await kube.get(RUNS, f"{NAME}-base", TEAM)
    for name in ("3-aligned.yaml", "4-gate.yaml", "5-served.yaml"):
        (platform.site.team / name).unlink()
    platform.site.commit("The assistant retires")
    await refresh(kube, TEAM)

    async def only_the_base_is_left() -> bool:
        gone = [await kube.find(resource, NAME, TEAM) for resource in (RUNS, GATES, SERVED)]
        children = [*await kube.items(JOBS, TEAM), *await kube.items(PODS, TEAM)]
        owners = {one["metadata"]["labels"]["plumbline.dev/owner"] for one in children}
        return not any(gone) and NAME not in owners and f"{NAME}-base" in owners

    await eventually(only_the_base_is_left, 90.0)
    await until(kube, TEAM, lambda now: (now.sync, now.health, now.phase) == ("Synced", "Healthy", "Succeeded"), 60)
    left = await kube.get(RUNS, f"{NAME}-base", TEAM)
    assert left["metadata"]["uid"] == base["metadata"]["uid"]
    assert await kube.find(CONFIG_MAPS, "plumbline-inputs", TEAM)
    assert (await kube.get(APPLICATIONS, TEAM, NAMESPACE))["status"]["history"]
