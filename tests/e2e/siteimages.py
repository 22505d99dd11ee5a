"""The images of this checkout at a site: built by `make images`, pushed into its registry, pulled by its node."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from images.build.catalogue import IMAGES
from images.build.workshop import LAYOUT, Record, read_records
from tests.cluster.client import Object
from tests.e2e.patience import until
from tests.e2e.pods import PULL_SECRET, probe_pod, restricted_namespace, within
from tests.e2e.realcluster import RealCluster
from tests.support.checkout import ROOT

__all__ = ["BUILT", "Images", "SiteImages", "find_images", "pull_images", "push_images"]

BUILT = ROOT / "build/images"
"""Where `make images` puts them."""
LARGE = ("trainer", "engine")
"""They have all their layers in common, and among those torch."""
NAMESPACE = "pulls"
LONGEST = 600.0
"""Seconds that a busy machine may take to pull and unpack three gigabytes."""


@dataclass(frozen=True)
class Images:
    """The images as they were built."""

    layout: Path
    """An OCI layout with all of them."""
    records: Mapping[str, Record]


def find_images() -> Images | None:
    """What was built, or None where one of them was not."""
    records = read_records(BUILT)
    return Images(BUILT / LAYOUT, records) if records.keys() >= IMAGES.keys() else None


@dataclass(frozen=True)
class SiteImages:
    """The images of a site."""

    built: Images
    references: Mapping[str, str]
    """Each by digest in the registry."""

    @property
    def values(self) -> Object:
        """The part `images` of the chart's values."""
        return {name: {"digest": record.digest} for name, record in self.built.records.items()}

    def push(self, cluster: RealCluster, name: str) -> None:
        """Bring one of them into the registry, once more where it is gone."""
        pushed = cluster.registry.push(
            Path(f"{self.built.layout}:{self.built.records[name].reference}"), f"plumbline/{name}"
        )
        assert pushed == self.references[name], f"{name} changed on its way: {pushed}"


def push_images(cluster: RealCluster, built: Images) -> SiteImages:
    """Bring all of them into the registry."""
    place = f"{cluster.registry.name}/plumbline"
    site = SiteImages(built, {name: f"{place}/{name}@{record.digest}" for name, record in built.records.items()})
    for name in built.records:
        site.push(cluster, name)
    return site


def pull_images(cluster: RealCluster, site: SiteImages) -> None:
    """Have the node pull what is large, for pods of a namespace that is gone again afterwards.

    Raises:
        AssertionError: It could not.
    """
    cluster.apply(restricted_namespace(NAMESPACE), within(NAMESPACE, cluster.registry.pull_secret(PULL_SECRET)))
    for name in LARGE:
        asks = {"command": [f"plumbline-{name}"]}
        cluster.apply(within(NAMESPACE, probe_pod(name, site.references[name], "--help", container=asks)))
        until(partial(_has_ended, cluster, name), f"{name} is pulled", LONGEST)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _has_ended(cluster: RealCluster, pod: str) -> bool:
    words = ("get", "pod", pod, f"--namespace={NAMESPACE}", "--output=jsonpath={.status.phase}")
    return cluster.kubectl(*words).stdout == "Succeeded"
