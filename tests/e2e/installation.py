"""Plumbline installed at a site, as docs/install.md says: its images in the private registry, its chart by Helm.

The operator lives in a namespace of its own and a team in another; both enforce the restricted standard.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.client import Object
from tests.e2e.pods import PULL_SECRET
from tests.e2e.realcluster import RealCluster

__all__ = ["IMAGES", "Images", "Installation", "find_images", "install"]

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "build/images"
"""Where `make images` puts them."""
OPERATOR = "plumbline-system"
RELEASE = "plumbline"
CLAIM = "plumbline-store"


@dataclass(frozen=True)
class Images:
    """The images as they were built."""

    layout: Path
    """An OCI layout with all of them."""
    references: dict[str, str]
    """Their names in it."""
    digests: dict[str, str]

    def push(self, cluster: RealCluster) -> Object:
        """Bring all of them into the registry; the part of the chart's values that says which they are."""
        values: Object = {}
        for name, reference in self.references.items():
            pushed = cluster.registry.push(Path(f"{self.layout}:{reference}"), f"plumbline/{name}")
            digest = pushed.partition("@")[2]
            assert digest == self.digests[name], f"{name} changed on its way: {digest}"
            values[name] = {"digest": digest}
        return values


def find_images(folder: Path = IMAGES) -> Images | None:
    """What was built, or None where it was not."""
    catalogue = folder / "images.json"
    if not catalogue.exists():
        return None
    built = {one["name"]: one for one in json.loads(catalogue.read_text(encoding="utf-8"))["images"]}
    (layout,) = {one["layout"] for one in built.values()}
    return Images(
        folder / layout,
        {name: one["reference"] for name, one in built.items()},
        {name: one["digest"] for name, one in built.items()},
    )


@dataclass
class Installation:
    """A release, and the namespace of the team it works for."""

    cluster: RealCluster
    team: str
    store: Path
    """The folder on this machine that is the team's volume."""

    def kubectl(self, *words: str, check: bool = True) -> str:
        """What kubectl prints, in the team's namespace."""
        return self.cluster.kubectl(f"--namespace={self.team}", *words, check=check).stdout

    def describe(self) -> str:
        """What there is and what went on, for the message of a failed test."""
        words = ("describe", "plumbline"), ("get", "pods,jobs,deployments", "-o", "wide"), ("get", "events")
        operator = f"deployment/{RELEASE}"
        log = self.cluster.kubectl(f"--namespace={OPERATOR}", "logs", operator, "--tail=60", check=False)
        return "\n".join([*(self.kubectl(*one, check=False) for one in words), log.stdout, log.stderr])

    def uninstall(self) -> None:
        """Remove the release; what it keeps stays."""
        self.cluster.helm("uninstall", RELEASE, f"--namespace={OPERATOR}", "--wait")


def install(cluster: RealCluster, images: Images, team: str, folder: Path) -> Installation:
    """`helm install --wait` and `helm test`, for a team whose namespace and pull secret are there.

    Raises:
        AssertionError: Helm refused, or the operator did not come up.
    """
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    secret = cluster.registry.pull_secret(PULL_SECRET)
    secret["metadata"]["namespace"] = OPERATOR
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR, "labels": restricted}}
    cluster.apply(namespace, secret)
    store = cluster.provide_volume(team, CLAIM)
    values = folder / "values-here.yaml"
    values.write_text(
        yaml.safe_dump(
            {
                "global": {"imageRegistry": cluster.registry.name, "imagePullSecrets": [PULL_SECRET]},
                "images": images.push(cluster),
                "watchNamespaces": [team],
                "store": {"claim": {"size": "10Gi", "accessModes": ["ReadWriteMany"]}},
            }
        ),
        encoding="utf-8",
    )
    place = f"--namespace={OPERATOR}"
    cluster.helm(
        "install", RELEASE, str(ROOT / "charts/plumbline"), place, f"--values={values}", "--wait", "--timeout=110s"
    )
    cluster.helm("test", RELEASE, place, "--timeout=60s")
    return Installation(cluster, team, store)
