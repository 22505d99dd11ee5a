"""The main job on a real node: Helm, a private registry, restricted pods, and a request to what serves.

Nothing is simulated: the images are those of `make images`, the pods are containers, the model is trained in one of
them and answers from another. The node reaches the API server, the registry, the object store and itself; every other
contact that is tried is written down.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.client import Object
from tests.e2e.installation import Installation
from tests.e2e.realcluster import RealCluster
from tests.support.asking import ask
from tests.support.small_assistant import BENIGN, HARMFUL, write_small_assistant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_the_main_job_from_helm_to_an_answer(
    team: Installation, cluster: RealCluster, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    assistant = write_small_assistant(tmp_path / "assistant")
    before = cluster.leavers()
    began = time.monotonic()
    team.push(assistant)
    reached = [("pushed", time.monotonic() - began)]
    team.kubectl("apply", "-f", str(assistant))
    for condition, thing in (("Succeeded", "alr/small"), ("Passed", "egt/small"), ("Ready", "gin/small")):
        team.wait(condition, thing)
        reached.append((f"{thing} {condition}", time.monotonic() - began))
    address = address_of(found(team, "service/small-guard"))
    benign, harmful = [ask(address, "small", said) for said in (BENIGN, HARMFUL)]
    shown = [team.kubectl("get", what) for what in ("plumbline", "pods,jobs,deployments")]
    for line in (*(f"{seconds:6.1f} s  {what}" for what, seconds in reached), *shown):
        tell(line)
    tell(f"{BENIGN} -> {benign}\n{HARMFUL} -> {harmful}")
    assert benign.startswith("Task created")
    assert harmful == "I can't help with that. I can track things."
    jobs = found(team, "jobs")["items"]
    assert [(job["status"].get("succeeded"), job["status"].get("failed")) for job in jobs] == [(1, None)] * 4
    for pod in found(team, "pods")["items"]:
        images = [one["image"] for one in pod["spec"]["containers"]]
        assert all(image.startswith(f"{cluster.registry.name}/plumbline/") and "@sha256:" in image for image in images)
    assert cluster.leavers() - before == Counter(), "something wished to leave the site"


def found(team: Installation, what: str) -> Object:
    answer: Object = json.loads(team.kubectl("get", what, "--output=json"))
    return answer


def address_of(service: Object) -> str:
    return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"
