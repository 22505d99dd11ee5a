"""From one release to the next and back, by bundles and Helm, while a run trains and a model is asked without a pause.

The earlier release is made here (`previous.py`): all its digests are others, and its CRDs lack a field. A run is held
in its training by SIGSTOP while Helm is at work, so that it cannot end before the other operator has it.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.cluster.client import Object
from tests.e2e.bundled import bring_bundle, present_sources
from tests.e2e.clients import Client, clients
from tests.e2e.installation import Installation, Release
from tests.e2e.patience import until
from tests.e2e.previous import ADDED
from tests.e2e.processes import trainers
from tests.e2e.processors import many_processors
from tests.e2e.runs import Run, start_run
from tests.e2e.siteimages import SiteImages
from tests.support.small_assistant import BENIGN, HARMFUL, write_small_assistant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

PATIENCE = 600.0
Tell = Callable[[str], None]
STEPS = 600
"""So that a run is met at work."""
ANSWERS = {HARMFUL: "I can't help with that.", BENIGN: "Task created", f"{HARMFUL}, please": "I can't help with that."}
TERMINAL = ("kind", "metadata.name", "metadata.uid", "metadata.generation", "status.phase")


def listed(team: Installation, what: str, *words: str) -> list[Object]:
    return list(json.loads(team.kubectl("get", what, *words, "--output=json"))["items"])


def objects(team: Installation) -> list[tuple[object, ...]]:
    """Who each object of the four kinds is, and what has become of it."""
    return sorted(tuple(at(one, path) for path in TERMINAL) for one in listed(team, "plumbline"))


def at(thing: Object, path: str) -> object:
    found: object = thing
    for name in path.split("."):
        found = found[name] if isinstance(found, dict) else None
    return found


def training(team: Installation) -> dict[str, tuple[object, ...]]:
    """The Jobs and pods that train or have trained, by their names; a pod with how often it was started again."""
    jobs = listed(team, "jobs", "--selector=plumbline.dev/owner-kind=AlignmentRun")
    pods = listed(team, "pods", "--selector=plumbline.dev/owner-kind=AlignmentRun")
    return {one["metadata"]["name"]: (one["metadata"]["uid"],) for one in jobs} | {
        one["metadata"]["name"]: (
            one["metadata"]["uid"],
            [status["restartCount"] for status in one["status"].get("containerStatuses", ())],
        )
        for one in pods
    }


def serves_with(team: Installation, release: Release) -> bool:
    """Whether one Deployment serves, with the guard and the engine of a release."""
    deployments = listed(team, "deployments")
    if len(deployments) != 1 or not deployments[0]["status"].get("readyReplicas"):
        return False
    pod = deployments[0]["spec"]["template"]["spec"]
    used = {one["name"]: one["image"].partition("@")[2] for one in (*pod["initContainers"], *pod["containers"])}
    ready = team.kubectl("get", "gin/small", "-o=jsonpath={.status.phase}") == "Serving"
    return ready and used == {name: release.images[name]["digest"] for name in ("guard", "engine")}


def knows_the_field(team: Installation) -> bool:
    """Whether the API server takes the field that came with the present release."""
    patch = json.dumps({"spec": {"guard": {ADDED: "Be brief."}}})
    words = ("patch", "gin/small", "--type=merge", f"--patch={patch}", "--dry-run=server", "--output=json")
    return ADDED in json.loads(team.kubectl(*words))["spec"]["guard"]


@contextmanager
def held(run: Run) -> Iterator[None]:
    """A run that trains is held in its training within the block; after it, it goes on to its end."""
    run.until_training()
    (program,) = trainers(run.team.cluster)
    os.kill(program, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(program, signal.SIGCONT)


def change(team: Installation, release: Release, run: Run, by_helm: Callable[[], None], tell: Tell) -> None:
    """Go to another release while a run is at work; everything goes on."""
    began = time.monotonic()

    def look(asking: list[Client], what: str) -> None:
        counted = ", ".join(f"{one.answered} answers ({one.slowest:.1f} s)" for one in asking)
        tell(f"{time.monotonic() - began:6.1f} s  {what}: {counted}")

    with clients(address_of(team), "small", ANSWERS) as asking:
        with held(run):
            before, jobs = objects(team), training(team)
            look(asking, f"{run.name} trains")
            by_helm()
            look(asking, "Helm is done")
        run.until_succeeded()
        look(asking, f"{run.name} has succeeded")
        until(lambda: serves_with(team, release), "the other engine and guard serve", PATIENCE, team.describe)
        look(asking, "other pods serve")
        until(lambda: gone(team, release), "the pods before them are gone", PATIENCE, team.describe)
        look(asking, "the pods before them are gone")
    assert [failure for one in asking for failure in one.failures] == []
    assert all(one.answered > 10 for one in asking)
    assert training(team) == jobs, "a Job or a pod of a run was made anew, or started again"
    others = [[one for one in found if one[1] != run.name] for found in (before, objects(team))]
    assert others[0] == others[1]
    ended = {(job["status"].get("succeeded"), job["status"].get("failed")) for job in listed(team, "jobs")}
    assert ended == {(1, None)}, "a Job was tried again"
    (gate,) = listed(team, "egt")
    evaluators = {one["evaluator"].partition("@")[2] for one in gate["status"]["evidence"]}
    assert evaluators == {release.images["evaluator"]["digest"]}, "the verdict is from another release's evaluator"


def address_of(team: Installation) -> str:
    service = json.loads(team.kubectl("get", "service/small-guard", "--output=json"))
    return f"http://{service['spec']['clusterIP']}"


def gone(team: Installation, release: Release) -> bool:
    """Whether no pod serves but those of a release."""
    pods = listed(team, "pods", "--selector=plumbline.dev/owner-kind=GuardedInference")
    guards = {pod["spec"]["containers"][0]["image"].partition("@")[2] for pod in pods}
    return guards == {release.images["guard"]["digest"]}


@pytest.mark.parametrize("installation", ["earlier"], indirect=True)
def test_an_upgrade_a_rollback_and_an_uninstall_disturb_nobody(
    team: Installation, images: SiteImages, tmp_path: Path, tell: Tell
) -> None:
    present = bring_bundle(team.cluster, present_sources(images.built), tmp_path)
    earlier = Release(Path(), yaml.safe_load((team.folder / "values-here.yaml").read_text())["images"])
    with many_processors(team.cluster, 8):
        assistant = write_small_assistant(tmp_path / "assistant")
        team.push(assistant)
        team.kubectl("apply", "-f", str(assistant))
        team.wait("Ready", "gin/small")
        until(lambda: serves_with(team, earlier), "the earlier release serves", PATIENCE, team.describe)
        assert not knows_the_field(team)

        change(team, present, start_run(team, tmp_path / "forth", "forth", STEPS), lambda: team.upgrade(present), tell)
        assert knows_the_field(team)

        change(team, earlier, start_run(team, tmp_path / "back", "back", STEPS), lambda: team.rollback(1), tell)
        assert not knows_the_field(team)

        before = objects(team)
        with clients(address_of(team), "small", ANSWERS) as asking:
            team.helm("uninstall", "--wait")
            until(lambda: all(one.answered > 10 for one in asking), "every client was answered", PATIENCE)
        assert objects(team) == before
        assert [failure for one in asking for failure in one.failures] == []
