"""An image that a node cannot get: the run says which and why, waits, and goes on by itself once it can be had.

The trainer's image is removed from the node before each of these; its layers stay, as the engine's, so a pull that
succeeds takes moments. The operator is killed while the pod waits.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.e2e.installation import Installation
from tests.e2e.pods import PULL_SECRET, probe_pod, within
from tests.e2e.realcluster import RealCluster
from tests.e2e.registry import Registry
from tests.e2e.runs import start_run
from tests.e2e.siteimages import SiteImages

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("installation", ["bucket"], indirect=True),
]

Cause = Callable[[Installation, SiteImages], AbstractContextManager[None]]
FEW = 10
"""Steps: what is looked at comes before the first."""
GPU = "nvidia.com/gpu"


@contextmanager
def registry_down(team: Installation, site: SiteImages) -> Iterator[None]:
    """The registry is killed, and started again."""
    team.cluster.registry.process.kill()
    try:
        yield
    finally:
        team.cluster.registry.start()


@contextmanager
def wrong_password(team: Installation, site: SiteImages) -> Iterator[None]:
    """The team's pull secret has another password than the registry."""
    registry: Registry = team.cluster.registry
    team.cluster.apply(within(team.team, registry.pull_secret(PULL_SECRET, "not-the-password")))
    try:
        yield
    finally:
        team.cluster.apply(within(team.team, registry.pull_secret(PULL_SECRET)))


@contextmanager
def image_gone(team: Installation, site: SiteImages) -> Iterator[None]:
    """The registry has no image of this digest any more, and later again."""
    team.cluster.registry.remove(site.references["trainer"])
    try:
        yield
    finally:
        site.push(team.cluster, "trainer")


CAUSES: dict[Cause, str] = {
    registry_down: "the registry cannot be reached; check its name and the network",
    wrong_password: "the registry refuses; check the image pull secrets",
    image_gone: "there is no such image; push it, or correct the operator's settings",
}
each_cause = pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)


@each_cause
def test_a_run_waits_for_an_image_that_cannot_be_pulled(
    team: Installation, images: SiteImages, tmp_path: Path, strike: Callable[[], None], cause: Cause
) -> None:
    team.cluster.runtime.forget(images.built.records["trainer"].digest)
    with cause(team, images):
        run = start_run(team, tmp_path, cause.__name__.replace("_", "-"), FEW)
        told = run.until_says("ImagePullFailed")
        strike()
        assert f"image {images.references['trainer']} of container worker cannot be pulled" in told
        assert told.endswith(CAUSES[cause])
    job = run.until_succeeded()
    assert (job["status"]["succeeded"], job["status"].get("failed", 0)) == (1, 0)
    assert len(run.pods()) == 1


def test_a_run_whose_image_never_comes_is_given_up_and_gives_back_its_gpus(
    team: Installation, cluster: RealCluster, images: SiteImages, tmp_path: Path, probe: str
) -> None:
    cluster.set_resource(GPU, 2)
    cluster.runtime.forget(images.built.records["trainer"].digest)
    with team.changed({"workloads": {"startDeadlineSeconds": 15}}), image_gone(team, images):
        run = start_run(team, tmp_path, "never", FEW, gpu={"count": 2})
        said = run.until_failed()
        assert said.startswith("ImagePullFailed: ")
        assert said.endswith(f"{CAUSES[image_gone]} (given up after 15 s without a start)")
        other = probe_pod("other", probe, "say", "done", container={"resources": {"limits": {GPU: "2"}}})
        cluster.apply(within(team.team, other))
        run.until(
            lambda: team.kubectl("get", "pod/other", "--output=jsonpath={.status.phase}") == "Succeeded", "is gone"
        )
    team.kubectl("delete", "pod/other", "--grace-period=1")
    run.retry()
    # The image came and the trainer began: it finds that the node only pretends to have GPUs.
    assert run.until_says("BadConfiguration").startswith("BadConfiguration: compute.gpu")
    cluster.set_resource(GPU, 0)
