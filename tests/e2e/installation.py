"""Plumbline installed at a site, as docs/install.md says: its images in the private registry, its chart by Helm.

The operator lives in a namespace of its own and a team in another; both enforce the restricted standard.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import yaml

from tests.cluster.client import Object
from tests.e2e.pods import PULL_SECRET
from tests.e2e.realcluster import RealCluster
from tests.support.objectstore import ObjectStore

__all__ = ["IMAGES", "Images", "Installation", "TeamStore", "find_images", "in_a_bucket", "install", "on_a_volume"]

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "build/images"
"""Where `make images` puts them."""
OPERATOR = "plumbline-system"
RELEASE = "plumbline"
CLAIM = "plumbline-store"
BUCKET = "artifacts"


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


@dataclass(frozen=True)
class TeamStore:
    """Where a team's artifacts are kept."""

    uri: str
    """As this machine reaches it."""
    values: Object
    """The part `store` of the chart's values."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What this machine needs to be let in."""


def on_a_volume(cluster: RealCluster, team: str) -> TeamStore:
    """A volume of the node, for the claim that the chart makes."""
    folder = cluster.provide_volume(team, CLAIM)
    return TeamStore(folder.as_uri(), {"claim": {"size": "10Gi", "accessModes": ["ReadWriteMany"]}})


def in_a_bucket(cluster: RealCluster, team: str, server: ObjectStore) -> TeamStore:
    """A new bucket, with the Secret and the ConfigMap by which the team's pods are let in."""
    there = server.environment()
    account = {name: there[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    place = {"name": BUCKET, "namespace": team}
    authority = server.authority.read_text(encoding="ascii")
    cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": place, "stringData": account},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place, "data": {"ca.crt": authority}},
    )
    region = there["AWS_DEFAULT_REGION"]
    keys = dict(zip(("aws_access_key_id", "aws_secret_access_key"), account.values(), strict=True))
    client = boto3.client("s3", endpoint_url=server.url, verify=str(server.authority), region_name=region, **keys)
    client.create_bucket(Bucket=BUCKET)
    s3 = {"endpoint": server.url, "region": region, "credentialsSecret": BUCKET, "caConfigMap": BUCKET}
    uri = f"s3://{BUCKET}/{team}"
    return TeamStore(uri, {"uri": uri, "s3": s3}, there)


@dataclass
class Installation:
    """A release, and the namespace of the team it works for."""

    cluster: RealCluster
    team: str
    store: TeamStore

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


def install(cluster: RealCluster, images: Images, team: str, store: TeamStore, folder: Path) -> Installation:
    """`helm install --wait` and `helm test`, for a team whose namespace and pull secret are there.

    Raises:
        AssertionError: Helm refused, or the operator did not come up.
    """
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    secret = cluster.registry.pull_secret(PULL_SECRET)
    secret["metadata"]["namespace"] = OPERATOR
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR, "labels": restricted}}
    cluster.apply(namespace, secret)
    values = folder / "values-here.yaml"
    values.write_text(
        yaml.safe_dump(
            {
                "global": {"imageRegistry": cluster.registry.name, "imagePullSecrets": [PULL_SECRET]},
                "images": images.push(cluster),
                "watchNamespaces": [team],
                "store": store.values,
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
