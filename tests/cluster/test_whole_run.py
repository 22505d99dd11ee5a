"""The whole loop on a real API server, with the real programs in the pods: what a person types, and what they see.

kubectl and `plumbline push` are the user's part; the operator is a process with a kubeconfig; the scheduler and the
controllers are Kubernetes' own; the node runs pods as processes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from plumbline_api.names import ExitCode
from plumbline_operator.main import run_command
from tests.cluster.client import JOBS, PODS, KubeClient, Object, Resource, eventually
from tests.cluster.commands import run_kubectl
from tests.cluster.controlplane import ADMINISTRATORS, ControlPlane
from tests.cluster.node import Node, process_node
from tests.cluster.node_pod import PodLife
from tests.cluster.operating import Process, operator_process, serve_kinds
from tests.support.asking import ask
from tests.support.small_assistant import BENIGN, HARMFUL, write_broken_run, write_small_assistant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SERVICES = Resource("", "v1", "services")
LONGEST = 600
"""Seconds until something is given up here; on two idle cores all of it takes less than two minutes."""


@dataclass
class Team:
    """Somebody with a terminal, a namespace, and a store on a volume."""

    plane: ControlPlane
    kube: KubeClient
    node: Node
    namespace: str
    kubeconfig: Path
    folder: Path

    async def kubectl(self, *words: str, check: bool = True) -> str:
        """What kubectl prints; it runs beside the node, which lives in this process."""
        done = await asyncio.to_thread(
            run_kubectl, self.plane, *words, kubeconfig=self.kubeconfig, check=check, seconds=LONGEST + 10
        )
        return done.stdout

    async def wait(self, condition: str, thing: str) -> None:
        """`kubectl wait`; what went on where it does not end well."""
        try:
            await self.kubectl("wait", f"--for=condition={condition}", thing, f"--timeout={LONGEST}s")
        except AssertionError as error:
            seen = await self.kubectl("describe", thing)
            raise AssertionError(f"{error}\n{seen}\n{self.node.describe()}") from None

    async def push(self, manifests: Path) -> int:
        """`plumbline push --apply`."""
        store = (self.folder / "store").as_uri()
        return await asyncio.to_thread(run_command, ["push", "-f", str(manifests), "--store", store, "--apply"])

    @contextmanager
    def operator(self, name: str = "operator") -> Iterator[Process]:
        """The operator as a process."""
        store = {"PLUMBLINE_STORE": (self.folder / "store").as_uri()}
        words = ("--namespace", self.namespace)
        with operator_process(self.plane.kubeconfig, self.folder, *words, name=name, environment=store) as process:
            yield process


@pytest.fixture
async def team(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Team]:
    await serve_kinds(kube)
    kubeconfig = control_plane.user_kubeconfig("someone", [ADMINISTRATORS], namespace)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with process_node(kube, tmp_path / "node", namespace) as node:
        yield Team(control_plane, kube, node, namespace, kubeconfig, tmp_path)
        # Deployments would start pods again as long as they are there.
        await kube.call("DELETE", f"/apis/plumbline.dev/v1alpha1/namespaces/{namespace}/guardedinferences")


async def test_the_whole_loop_with_kubectl(team: Team, tmp_path: Path) -> None:
    assistant = await asyncio.to_thread(write_small_assistant, tmp_path / "assistant")
    began = time.monotonic()
    with team.operator():
        assert await team.push(assistant) == ExitCode.OK
        await team.kubectl("apply", "-f", str(assistant))
        await team.wait("Succeeded", "alr/small")
        await team.wait("Passed", "egt/small")
        await team.wait("Ready", "gin/small")
        address = await guard_address(team)
        benign, harmful = [await asyncio.to_thread(ask, address, "small", said) for said in (BENIGN, HARMFUL)]
        took = time.monotonic() - began
        shown = [await team.kubectl("get", "plumbline"), await team.kubectl("get", "pods,jobs,deployments")]
    # For people: pytest -s shows it.
    print(f"\n{took:.0f} s\n" + "\n".join(shown) + f"\n{BENIGN} -> {benign}\n{HARMFUL} -> {harmful}")  # noqa: T201
    assert benign.startswith("Task created")
    assert harmful == "I can't help with that. I can track things."
    jobs = await team.kube.items(JOBS, team.namespace)
    assert [job["status"].get("succeeded") for job in jobs] == [1] * 4
    assert [job["status"].get("failed") for job in jobs] == [None] * 4


async def guard_address(team: Team) -> str:
    """A pod that the Service in front of the guards chooses. (Its own list of them admits no loopback address.)"""
    service = await team.kube.get(SERVICES, "small-guard", team.namespace)
    chosen = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
    (pod,) = await team.kube.items(PODS, team.namespace, chosen)
    assert {one["type"]: one["status"] for one in pod["status"]["conditions"]}["Ready"] == "True"
    ports = {port["name"]: port["containerPort"] for one in pod["spec"]["containers"] for port in one["ports"]}
    return f"http://{pod['status']['podIP']}:{ports[service['spec']['ports'][0]['targetPort']]}"


async def test_a_run_with_bad_data_ends_a_wait_within_seconds(team: Team, tmp_path: Path) -> None:
    broken = await asyncio.to_thread(write_broken_run, tmp_path / "broken")
    with team.operator():
        assert await team.push(broken) == ExitCode.OK
        await team.kubectl("apply", "-f", str(broken / "broken.yaml"))
        await team.wait("Succeeded=False", "alr/broken")
        ended = time.time()
        assert "data set broken.jsonl:2: neither" in await team.kubectl("describe", "alr/broken")
        (pod,) = await team.kube.items(PODS, team.namespace)
        worker = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (worker["exitCode"], worker["reason"]) == (ExitCode.BAD_DATA, "Error")
        assert ended - datetime.fromisoformat(worker["finishedAt"]).timestamp() < 10


async def test_a_killed_trainer_and_a_killed_operator_cost_time_and_nothing_else(team: Team, tmp_path: Path) -> None:
    assistant = await asyncio.to_thread(write_small_assistant, tmp_path / "assistant")
    with team.operator() as operator:
        assert await team.push(assistant) == ExitCode.OK
        await team.kubectl("apply", "-f", str(assistant / "1-runs.yaml"))
        first = await eventually(lambda: in_training(team), LONGEST)
        assert first is not None
        assert team.node.crash(first)
        await eventually(lambda: in_training(team, after=first), LONGEST)
        operator.kill()
    with team.operator("second"):
        await team.wait("Succeeded", "alr/small")
    jobs = await team.kube.items(JOBS, team.namespace)
    ends = [(job["status"].get("failed", 0), job["status"]["succeeded"]) for job in sorted(jobs, key=_age)]
    assert ends == [(1, 1), (0, 1)], team.node.describe()
    assert len(await team.kube.items(PODS, team.namespace)) == 3


def _age(thing: Object) -> str:
    return str(thing["metadata"]["creationTimestamp"])


async def in_training(team: Team, after: PodLife | None = None) -> PodLife | None:
    """A pod of the first stage that has saved its work at least once."""
    found = [life for life in team.node.pods("small-base-pretrain") if life is not after]
    saved = [life for life in found if list((life.folder / "volumes/work").rglob("checkpoint-*"))]
    return saved[0] if saved else None
