"""The main job on a real node: Helm, a private registry, restricted pods, and a request to what serves.

Nothing is simulated: the images are those of `make images`, the pods are containers, the model is trained in one of
them and answers from another. The node reaches the API server, the registry, the object store and itself; every other
contact that is tried is written down.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from plumbline_api.names import Kind
from tests.cluster.client import Object
from tests.e2e.installation import Installation
from tests.e2e.realcluster import RealCluster
from tests.e2e.runs import Run
from tests.support.asking import ask
from tests.support.signing import Pair, make_pair
from tests.support.small_assistant import BENIGN, HARMFUL, write_small_assistant, write_small_run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

KEY = "signing.key"


@pytest.mark.parametrize("installation", ["volume"], indirect=True)
def test_the_main_job_from_helm_to_an_answer(
    team: Installation, cluster: RealCluster, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    do_the_main_job(team, cluster, write_small_assistant(tmp_path / "assistant"), tell)


@pytest.mark.parametrize("installation", ["bucket"], indirect=True)
def test_the_main_job_where_everything_is_signed(
    team: Installation, cluster: RealCluster, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    ours, theirs = make_pair(tmp_path / "ours"), make_pair(tmp_path / "theirs")
    with signing(team, ours):
        assistant = write_small_assistant(tmp_path / "assistant")
        sign_outputs(assistant)
        do_the_main_job(team, cluster, assistant, tell, "--sign-with", str(ours.key_file))
        made = team.kubectl("get", "alr/small", "--output=jsonpath={.status.output}")
        assert made in team.plumbline("verify", made, "--trust", str(ours.public_file))
        # What serves holds the processors that the next run wants.
        team.clear()

        stranger = write_small_run(tmp_path / "stranger", "stranger", 10)
        sign_outputs(stranger)
        team.push(stranger, "--sign-with", str(theirs.key_file))
        team.kubectl("apply", "-f", str(stranger))
        assert Run(team, "stranger").until_failed().startswith("SignatureInvalid: ")


@contextmanager
def signing(team: Installation, pair: Pair) -> Iterator[None]:
    """Let runs sign with a key, and nothing be read that it has not signed."""
    team.kubectl("create", "secret", "generic", "release-key", f"--from-file={KEY}={pair.key_file}")
    try:
        with team.changed({"trust": {"keys": {"site": pair.public}}}):
            yield
            team.clear()
    finally:
        team.kubectl("delete", "secret", "release-key")


def sign_outputs(manifests: Path) -> None:
    """Have every run sign what it makes."""
    for path in manifests.glob("*.yaml"):
        bodies = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        for body in bodies:
            if body["kind"] == Kind.ALIGNMENT_RUN:
                body["spec"]["output"] = {"sign": {"secret": "release-key"}}
        # As JSON, in which no text can be taken for a number.
        path.write_text("\n---\n".join(json.dumps(body) for body in bodies), encoding="utf-8")


def do_the_main_job(
    team: Installation, cluster: RealCluster, assistant: Path, tell: Callable[[str], None], *push: str
) -> None:
    """From `plumbline push` to a request through the Service."""
    before = cluster.leavers()
    began = time.monotonic()
    team.push(assistant, *push)
    reached = [("pushed", time.monotonic() - began)]
    team.kubectl("apply", "-f", str(assistant))
    for condition, thing in (("Succeeded", "alr/small"), ("Passed", "egt/small"), ("Ready", "gin/small")):
        team.wait(condition, thing)
        reached.append((f"{thing} {condition}", time.monotonic() - began))
    address = address_of(found(team, "service/small-guard"))
    benign, harmful = [ask(address, "small", said) for said in (BENIGN, HARMFUL)]
    shown = [team.kubectl("get", what) for what in ("plumbline", "pods,jobs,deployments")]
    timeline = [f"{seconds:6.1f} s  {what}" for what, seconds in reached]
    for line in (*timeline, *Run(team, "small").beginnings(), *shown):
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
