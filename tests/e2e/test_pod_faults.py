"""What happens to pods on a real node while a run trains: each end has its reason, and the run goes on where it can.

In the middle of each fault all replicas of the operator are killed as well. `make e2e ALL=1` has every fault once more
without that.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.client import Object
from tests.e2e.installation import Installation
from tests.e2e.pods import probe_pod, within
from tests.e2e.processes import trainers
from tests.e2e.realcluster import RealCluster
from tests.e2e.runs import pod_ended, start_run

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("installation", ["volume"], indirect=True),
]

Strike = Callable[[], None]
Gpus = Callable[[int], None]
GPU = "nvidia.com/gpu"
SHORT = 30
LONG = 500
"""Steps of a run that is to be met at work: ten to twenty-five seconds on an idle core, of which that takes three."""
LONGER = 3000
"""Steps of a run that is met by the kubelet: it looks at what pods have written, and half a minute may go by."""
SHARE_GIB = 2
"""What a run takes that is to be preempted."""


def test_a_trainer_that_is_killed_is_tried_again(
    team: Installation, cluster: RealCluster, tmp_path: Path, strike: Strike
) -> None:
    run = start_run(team, tmp_path, "killed", LONG)
    run.until_training()
    (pid,) = trainers(cluster)
    os.kill(pid, signal.SIGKILL)
    strike()
    job = run.until_succeeded()
    assert ends(job) == (1, 1)
    assert "resuming at step" in run.log()


def test_an_eviction_is_no_failure(team: Installation, tmp_path: Path, strike: Strike) -> None:
    run = start_run(team, tmp_path, "evicted", LONG)
    run.until_training()
    (pod,) = [pod["metadata"]["name"] for pod in run.pods()]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": team.team}}
    path = f"/api/v1/namespaces/{team.team}/pods/{pod}/eviction"
    team.cluster.kubectl("create", "--raw", path, "--filename=-", text=json.dumps(body))
    told = run.until_told("Evicted")
    strike()
    assert f"pod {pod} was evicted, as when its node node is drained; another one takes its place" in told
    job = run.until_succeeded()
    assert ends(job) == (1, 0)
    assert "resuming at step" in run.log()


def test_a_pod_of_higher_priority_takes_the_place_of_a_trainer(
    team: Installation,
    cluster: RealCluster,
    tmp_path: Path,
    probe: str,
    strike: Strike,
) -> None:
    """They want the same memory: a GPU that the node pretends to have is none that a trainer can train on."""
    run = start_run(team, tmp_path, "preempted", LONG, memory=f"{SHARE_GIB}Gi")
    run.until_training()
    cluster.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}, "value": 1000}
    )
    allocatable = team.kubectl("get", "nodes", "-o=jsonpath={.items[0].status.allocatable.memory}")
    rest = int(allocatable.removesuffix("Ki")) - SHARE_GIB * 2**20
    limits = {"resources": {"limits": {"memory": f"{rest}Ki"}}}
    urgent = probe_pod("urgent", probe, "pause", container=limits, priorityClassName="urgent")
    run.until(lambda: admitted(team, urgent), "meets a class that admission knows")
    assert "made room for a pod of higher priority; another one takes its place" in run.until_told("Preempted")
    strike()
    assert "no node has enough memory left" in run.until_says("Unschedulable")
    team.kubectl("delete", "pod/urgent", "--grace-period=1")
    job = run.until_succeeded()
    assert ends(job) == (1, 0)
    assert "resuming at step" in run.log()


def test_a_trainer_without_enough_memory_fails_with_the_remedy(
    team: Installation, tmp_path: Path, strike: Strike
) -> None:
    run = start_run(team, tmp_path, "starved", memory="150Mi")
    run.until(lambda: [pod for pod in run.pods() if pod["status"]["phase"] == "Failed"], "is starved once")
    strike()
    said = run.until_failed()
    assert said.startswith("OutOfMemory: ")
    assert "raise spec.compute.memory" in said
    assert len(run.jobs()) == 1


def test_a_pod_whose_gpus_are_not_there_waits_and_holds_none(
    team: Installation,
    cluster: RealCluster,
    tmp_path: Path,
    probe: str,
    gpus: Gpus,
    strike: Strike,
) -> None:
    gpus(2)
    run = start_run(team, tmp_path, "greedy", gpu={"count": 3})
    assert "no node has enough nvidia.com/gpu left (3 asked for)" in run.until_says("Unschedulable")
    strike()
    other = probe_pod("modest", probe, "say", "done", container={"resources": {"limits": {GPU: "2"}}})
    cluster.apply(within(team.team, other))
    run.until(lambda: pod_ended(team, "modest"), "leaves both to a pod that can use them")
    run.delete()
    assert run.jobs() == []
    team.kubectl("delete", "pod/modest", "--grace-period=1")


def test_a_node_whose_programs_are_killed_goes_on_with_its_run(
    team: Installation, cluster: RealCluster, tmp_path: Path, strike: Strike
) -> None:
    run = start_run(team, tmp_path, "restarted", LONG)
    run.until_training()
    before = trainers(cluster)
    cluster.restart_runtime()
    cluster.restart_kubelet()
    strike()
    assert trainers(cluster) == before, "the pod went on"
    job = run.until_succeeded()
    assert ends(job) == (1, 0)
    assert len(run.pods()) == 1


def test_a_trainer_that_fills_its_node_is_evicted_and_goes_on_where_it_may_write_more(
    team: Installation, tmp_path: Path, strike: Strike
) -> None:
    team.cluster.apply(within(team.team, limit_range("100Ki")))
    run = start_run(team, tmp_path, "sprawling", LONGER)
    run.until(lambda: [pod for pod in run.pods() if pod["status"].get("reason") == "Evicted"], "is evicted")
    team.kubectl("delete", "limitrange/writes")
    strike()
    job = run.until_succeeded()
    assert ends(job) == (1, 1)
    assert len(run.pods()) == 2


def test_a_volume_without_space_is_named_and_a_retry_succeeds_once_there_is_some(
    team: Installation, tmp_path: Path, strike: Strike
) -> None:
    run = start_run(team, tmp_path, "cramped", SHORT)
    filler = fill(team)
    strike()
    said = run.until_failed()
    filler.unlink()
    assert said.startswith("BadConfiguration: ")
    assert "no space left" in said
    assert "free space or choose another folder, then run again" in said
    run.retry()
    run.until(lambda: run.says().startswith("Succeeded"), "succeeds")


def test_two_pods_train_one_model_through_their_service(team: Installation, tmp_path: Path) -> None:
    run = start_run(team, tmp_path, "parallel", nodes=2, cpu="500m")
    job = run.until_succeeded()
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["status"]["succeeded"] == 2


def ends(job: Object) -> tuple[int, int]:
    """How many of its pods succeeded, and how many count as failed."""
    return job["status"].get("succeeded", 0), job["status"].get("failed", 0)


def admitted(team: Installation, pod: Object) -> bool:
    """Apply a pod; false where its priority class is not known yet."""
    text = json.dumps(within(team.team, pod))
    return team.cluster.kubectl("apply", "--filename=-", text=text, check=False).returncode == 0


def limit_range(writes: str) -> Object:
    """What containers of a namespace may write to their node where they do not say."""
    limit = {"type": "Container", "default": {"ephemeral-storage": writes}}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "writes"}, "spec": {"limits": [limit]}}


def fill(team: Installation) -> Path:
    """Leave no space on the volume of a team; the file that takes it."""
    filler = Path(team.store.uri.removeprefix("file://"), "filler")
    block = bytes(1 << 20)
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError:
            return filler


@pytest.fixture
def gpus(cluster: RealCluster) -> Iterator[Gpus]:
    """Gives the node GPUs, and takes them away again."""
    yield lambda count: cluster.set_resource(GPU, count)
    cluster.set_resource(GPU, 0)
