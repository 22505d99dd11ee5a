"""What happens to pods on a real node while a run trains: each end has its reason, and the run goes on where it can.

One installation for all of them; every test has a run of its own.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.client import Object
from tests.e2e.installation import Images, Installation, installed, on_a_volume
from tests.e2e.realcluster import RealCluster
from tests.support.small_assistant import write_small_run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TEAM = "team-faults"
PATIENCE = 600.0
"""Seconds: the first pod of a new node pulls three gigabytes."""


@pytest.fixture(scope="module")
def team(cluster: RealCluster, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp(TEAM)
    with installed(cluster, images, TEAM, folder, partial(on_a_volume, cluster, TEAM)) as found:
        yield found


def start(team: Installation, folder: Path, name: str, **compute: object) -> None:
    """Push what a run needs, and apply it."""
    write_small_run(folder, name, **compute)
    team.push(folder)
    team.kubectl("apply", "-f", str(folder))


def until(look: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.3)


def trainers(cluster: RealCluster) -> list[int]:
    """The training programs in containers of the node, by the ids of this machine."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words, groups = (place / "cmdline").read_bytes().split(b"\0"), (place / "cgroup").read_text()
        except OSError:
            continue
        if any(word.endswith(b"plumbline-trainer") for word in words[:2]) and cluster.machine.cgroup in groups:
            found.append(int(place.name))
    return found


def jobs_of(team: Installation, name: str) -> list[Object]:
    listed = team.kubectl("get", "jobs", f"--selector=plumbline.dev/owner={name}", "--output=json")
    return list(json.loads(listed)["items"])


def training(team: Installation, name: str) -> bool:
    """Whether a run tells how far it is."""
    return bool(team.kubectl("get", f"alr/{name}", "-o=jsonpath={.status.stages[0].progress}", check=False))


def test_a_trainer_that_is_killed_is_tried_again(team: Installation, cluster: RealCluster, tmp_path: Path) -> None:
    start(team, tmp_path, "killed")
    until(lambda: training(team, "killed"), "the run trains")
    (pid,) = trainers(cluster)
    os.kill(pid, signal.SIGKILL)
    team.wait("Succeeded", "alr/killed")
    (job,) = jobs_of(team, "killed")
    assert (job["status"]["succeeded"], job["status"]["failed"]) == (1, 1)


def test_an_eviction_is_no_failure(team: Installation, tmp_path: Path) -> None:
    start(team, tmp_path, "evicted")
    until(lambda: training(team, "evicted"), "the run trains")
    pod = team.kubectl("get", "pods", "--selector=plumbline.dev/owner=evicted", "-o=name").strip().partition("/")[2]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": TEAM}}
    path = f"/api/v1/namespaces/{TEAM}/pods/{pod}/eviction"
    team.cluster.kubectl("create", "--raw", path, "--filename=-", text=json.dumps(body))
    team.wait("Succeeded", "alr/evicted")
    (job,) = jobs_of(team, "evicted")
    assert (job["status"]["succeeded"], job["status"].get("failed", 0)) == (1, 0)


def test_a_trainer_without_enough_memory_fails_with_the_remedy(team: Installation, tmp_path: Path) -> None:
    start(team, tmp_path, "starved", memory="150Mi")
    team.wait("Succeeded=False", "alr/starved")
    told = team.kubectl("get", "alr/starved", "-o=jsonpath={.status.stages[0].reason} {.status.stages[0].message}")
    assert told.startswith("OutOfMemory ")
    assert "raise spec.compute.memory" in told


def test_a_pod_whose_gpus_are_not_there_waits_and_holds_none(
    team: Installation, cluster: RealCluster, tmp_path: Path
) -> None:
    cluster.set_resource("nvidia.com/gpu", 2)
    start(team, tmp_path, "greedy", gpu={"count": 3})
    until(lambda: "Unschedulable" in team.kubectl("describe", "alr/greedy"), "the run says what it lacks")
    node = json.loads(cluster.kubectl("get", "nodes", "--output=json").stdout)["items"][0]
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert "3 asked for" in team.kubectl("describe", "alr/greedy")
    team.kubectl("delete", "alr/greedy", "--timeout=60s")
    assert jobs_of(team, "greedy") == []


def test_a_node_whose_programs_are_killed_goes_on_with_its_run(
    team: Installation, cluster: RealCluster, tmp_path: Path
) -> None:
    start(team, tmp_path, "restarted")
    until(lambda: training(team, "restarted"), "the run trains")
    cluster.restart_runtime()
    cluster.restart_kubelet()
    team.wait("Succeeded", "alr/restarted")
    (job,) = jobs_of(team, "restarted")
    assert job["status"]["succeeded"] == 1


def test_an_operator_that_is_killed_costs_time_alone(team: Installation, tmp_path: Path) -> None:
    start(team, tmp_path, "orphaned")
    until(lambda: training(team, "orphaned"), "the run trains")
    team.cluster.kubectl(
        "delete", "pods", "--namespace=plumbline-system", "--selector=app.kubernetes.io/name=plumbline",
        "--grace-period=0", "--force",
    )  # fmt: skip
    team.wait("Succeeded", "alr/orphaned")
    assert len(jobs_of(team, "orphaned")) == 1


def test_two_pods_train_one_model_through_their_service(team: Installation, tmp_path: Path) -> None:
    start(team, tmp_path, "parallel", nodes=2, cpu="500m")
    team.wait("Succeeded", "alr/parallel")
    (job,) = jobs_of(team, "parallel")
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["status"]["succeeded"] == 2
