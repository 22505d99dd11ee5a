"""How often Argo CD looks at an Application because of us, and whether it ever sees a difference to git."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from plumbline_api.names import Kind
from tests.cluster.client import CONFIG_MAPS, NAMESPACES, KubeClient, Object, eventually
from tests.cluster.crds import KINDS
from tests.cluster.node import Node
from tests.e2e.argocd.applications import APPLICATIONS, operations_of_looking_again, recorded, until
from tests.e2e.argocd.installation import Platform
from tests.e2e.argocd.processes import NAMESPACE
from tests.e2e.argocd.site import EXAMPLE, TEAM

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

RUNS = KINDS[Kind.ALIGNMENT_RUN]
LONGEST = 300.0
OURS = "resource.customizations.ignoreResourceUpdates.plumbline.dev_AlignmentRun"
BARE = {
    "resource.customizations.ignoreResourceUpdates.all": None,
    "resource.compareoptions": "ignoreDifferencesOnResourceUpdates: false\n",
}
"""Without these two defaults, which it has had since 3.0, Argo CD looks again at whatever changes in a status."""
REPORTS = 12
MOST_COMPARISONS, MOST_LOOKS = 8, 20
"""Of one run and its sync: what compares with git, and what only draws the tree of objects anew."""


def application(platform: Platform, name: str, path: str, namespace: str) -> Object:
    """An Application that syncs and heals itself, with the options of the example's."""
    shown = platform.site.read("apps/3-assistant.yaml" if platform.site.application.exists() else "root.yaml")
    source = {**shown["spec"]["source"], "path": path}
    options = ["CreateNamespace=true", "ServerSideApply=true", "SkipDryRunOnMissingResource=true"]
    spec = {
        "project": "default",
        "source": source,
        "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
        "syncPolicy": {"automated": {"prune": True, "selfHeal": True}, "syncOptions": options},
    }
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata, "spec": spec}


def run_named(platform: Platform, name: str, **changes: Any) -> Object:
    """The example's first run, by another name and another seed, so that nothing of it is there already."""
    body = platform.site.read(f"teams/{TEAM}/2-base.yaml")
    stages = [{**stage, "sft": {**stage["sft"], **changes}} for stage in body["spec"]["stages"]]
    spec = {**body["spec"], "seed": 7, "stages": stages}
    return {**body, "metadata": {"name": name}, "spec": spec}


async def test_a_run_at_work_is_never_out_of_sync_and_seldom_looked_at(
    platform: Platform, kube: KubeClient, node: Node, tell: Callable[[str], None]
) -> None:
    # Not by this Application: the team's own brings it, and what two bring, neither calls synced.
    await kube.apply(CONFIG_MAPS, platform.site.read(f"teams/{TEAM}/inputs.yaml"), TEAM, force=True)
    platform.site.write("teams/single/run.yaml", run_named(platform, "single", maxSteps=240))
    platform.site.commit("One run alone")
    async with recorded(kube, "single") as record:
        await kube.create(APPLICATIONS, application(platform, "single", "teams/single", TEAM), NAMESPACE)
        await kube.until(RUNS, "single", TEAM, lambda run: run.get("status", {}).get("phase") == "Running", 120)
        writes = await status_writes(kube, "single", LONGEST)
        await eventually(record.is_well, 60.0)
        assert await operations_of_looking_again(kube, record) == [], "self-heal has nothing to heal"
    levels = platform.argocd.refreshes("single")
    comparing = [level for level in levels if level > 0]
    tell(f"{writes} writes of the status, {len(comparing)} comparisons, {len(levels) - len(comparing)} looks")
    assert writes >= 3
    assert record.drifted == []
    shown = [moment.sync for _, moment in record.moments]
    assert set(shown[shown.index("Synced") :]) == {"Synced"}
    assert len(comparing) <= MOST_COMPARISONS
    assert len(levels) - len(comparing) <= MOST_LOOKS


async def test_what_the_api_server_fills_in_is_no_difference_to_git(platform: Platform, kube: KubeClient) -> None:
    """The example's manifests in full, without waves, where no operator works: applied once, and then never again."""
    bodies = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((EXAMPLE / f"teams/{TEAM}").glob("*.yaml"))
    ]
    whole = [{**body, "metadata": {"name": body["metadata"]["name"]}} for body in bodies]
    platform.site.write("teams/whole/all.yaml", *whole)
    platform.site.commit("Everything at once")
    await kube.create(NAMESPACES, {"metadata": {"name": "whole"}})
    async with recorded(kube, "whole") as record:
        await kube.create(APPLICATIONS, application(platform, "whole", "teams/whole", "whole"), NAMESPACE)
        synced = ("Synced", "Succeeded")
        await until(kube, "whole", lambda now: (now.sync, now.phase) == synced, 60, record.shown)
        await settled(platform, "whole")
        assert await operations_of_looking_again(kube, record) == []
    await kube.delete(APPLICATIONS, "whole", NAMESPACE)
    assert len(record.synced) == len(whole) == 6
    assert record.drifted == []


async def status_writes(kube: KubeClient, name: str, seconds: float) -> int:
    """How often a run's status was written until the run had succeeded."""
    seen: set[str] = set()

    def done(run: Object) -> bool:
        seen.add(run["metadata"]["resourceVersion"])
        assert run["status"]["phase"] != "Failed", run["status"]
        return bool(run["status"]["phase"] == "Succeeded")

    await kube.until(RUNS, name, TEAM, done, seconds)
    return len(seen)


@pytest.mark.parametrize(
    ("ours", "theirs", "looked_at"),
    [(True, True, False), (False, True, False), (True, False, False), (False, False, True)],
    ids=["all settings", "Argo CD's own", "the chart's", "none"],
)
async def test_reports_of_progress_have_an_application_looked_at(
    platform: Platform, kube: KubeClient, tell: Callable[[str], None], *, ours: bool, theirs: bool, looked_at: bool
) -> None:
    """Without any such setting reports do; with the chart's or Argo CD's own they do not. No operator works there."""
    kept = (await kube.get(CONFIG_MAPS, "argocd-cm", NAMESPACE))["data"]
    name = f"elsewhere-{int(ours)}{int(theirs)}"
    platform.site.write(f"teams/{name}/run.yaml", run_named(platform, name))
    platform.site.commit(f"A run in {name}")
    await kube.create(NAMESPACES, {"metadata": {"name": name}})
    chosen = ({} if theirs else BARE) | {OURS: kept[OURS] if ours else None}
    try:
        await kube.merge(CONFIG_MAPS, "argocd-cm", {"data": chosen}, NAMESPACE)
        await kube.create(APPLICATIONS, application(platform, name, f"teams/{name}", name), NAMESPACE)
        synced = ("Synced", "Succeeded")
        await until(kube, name, lambda now: (now.sync, now.phase) == synced, 60, platform.argocd.describe)
        await report(kube, name, 0)
        await settled(platform, name)
        before = len(platform.argocd.refreshes(name))
        for percentage in range(1, REPORTS + 1):
            await report(kube, name, percentage)
            await asyncio.sleep(0.3)
        await settled(platform, name)
        caused = platform.argocd.refreshes(name)[before:]
    finally:
        restored = {key: kept.get(key) for key in chosen}
        await kube.merge(CONFIG_MAPS, "argocd-cm", {"data": restored}, NAMESPACE)
        await kube.delete(APPLICATIONS, name, NAMESPACE)
    tell(f"{REPORTS} reports, reconciliations of levels {caused}")
    assert len(caused) >= REPORTS // 4 if looked_at else not caused


async def report(kube: KubeClient, name: str, percentage: int) -> None:
    """A status as the operator writes it while a stage is at work."""
    progress = {
        "progressPercentage": percentage,
        "lastUpdatedTime": f"2026-01-31T12:{percentage:02}:00Z",
        "metrics": [],
    }
    stage = {"name": "pretrain", "type": "sft", "state": "Running", "progress": progress}
    ready = {
        "type": "Ready", "status": "False", "reason": "Running", "message": "stage pretrain (sft) is running",
        "observedGeneration": 1, "lastTransitionTime": "2026-01-31T12:00:00Z",
    }  # fmt: skip
    status = {"observedGeneration": 1, "phase": "Running", "conditions": [ready], "stages": [stage]}
    await kube.merge(RUNS, name, {"status": status}, name, "status")


async def settled(platform: Platform, name: str) -> None:
    """Return when nothing has been looked at for two seconds."""
    count, quiet = -1, 0
    while quiet < 10:
        now = len(platform.argocd.refreshes(name))
        count, quiet = now, quiet + 1 if now == count else 0
        await asyncio.sleep(0.2)
