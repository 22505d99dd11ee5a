"""Plumbline installed at a site, as docs/install.md says: its images in the private registry, its chart by Helm.

The operator lives in a namespace of its own and a team in another; both enforce the restricted standard.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import yaml

from tests.cluster.client import Object
from tests.e2e.pods import PULL_SECRET, restricted_namespace, within
from tests.e2e.realcluster import RealCluster
from tests.support.checkout import ROOT
from tests.support.objectstore import ObjectStore

__all__ = ["CHART", "Installation", "Release", "TeamStore", "in_a_bucket", "installed", "on_a_volume"]

OPERATOR = "plumbline-system"
OPERATOR_PODS = "app.kubernetes.io/component=operator"
RELEASE = "plumbline"
CHART = ROOT / "charts/plumbline"
CLAIM = "plumbline-store"
BUCKET = "artifacts"


@dataclass(frozen=True)
class TeamStore:
    """Where a team's artifacts are kept."""

    uri: str
    """As this machine reaches it."""
    values: Object
    """The part `store` of the chart's values."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What this machine needs to be let in."""


def on_a_volume(cluster: RealCluster, team: str, megabytes: int = 0) -> TeamStore:
    """A volume of the node, for the claim that the chart makes; as small as it is asked for."""
    folder = cluster.provide_volume(team, CLAIM, megabytes=megabytes)
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


@dataclass(frozen=True)
class Release:
    """A chart, and which images it is to use."""

    chart: Path
    images: Object
    """The part `images` of its values."""


@dataclass
class Installation:
    """A release, and the namespace of the team it works for."""

    cluster: RealCluster
    team: str
    store: TeamStore
    folder: Path
    """Where the values are."""
    more: Object = field(default_factory=dict)
    """Further values."""

    def helm(self, verb: str, *words: str, check: bool = True) -> str:
        """What Helm prints of a call about the release."""
        return self.cluster.helm(verb, RELEASE, f"--namespace={OPERATOR}", *words, check=check).stdout

    def install(self, release: Release) -> None:
        """`helm install --wait` and `helm test`.

        Raises:
            AssertionError: Helm refused, or the operator did not come up.
        """
        self.helm("install", str(release.chart), f"--values={self._values(release)}", "--wait", "--timeout=110s")
        self.helm("test", "--timeout=60s")

    def upgrade(self, release: Release) -> None:
        """`helm upgrade --wait`."""
        self.helm("upgrade", str(release.chart), f"--values={self._values(release)}", "--wait", "--timeout=110s")

    def rollback(self, revision: int) -> None:
        """`helm rollback --wait`."""
        self.helm("rollback", str(revision), "--wait", "--timeout=110s")

    def _values(self, release: Release) -> Path:
        """What the site says, and the images of a release."""
        wanted = {
            "global": {"imageRegistry": self.cluster.registry.name, "imagePullSecrets": [PULL_SECRET]},
            "images": release.images,
            "watchNamespaces": [self.team],
            # Runs of several nodes find each other by DNS.
            "workloads": {"egress": [{"ports": [{"protocol": "UDP", "port": 53}]}]},
            "store": self.store.values,
            **self.more,
        }
        values = self.folder / "values-here.yaml"
        values.write_text(yaml.safe_dump(wanted), encoding="utf-8")
        return values

    def kubectl(self, *words: str, check: bool = True) -> str:
        """What kubectl prints, in the team's namespace."""
        return self.cluster.kubectl(f"--namespace={self.team}", *words, check=check).stdout

    def describe(self) -> str:
        """What there is and what went on, for the message of a failed test."""
        words = ("describe", "plumbline"), ("get", "pods,jobs,deployments", "-o", "wide"), ("get", "events")
        operator = f"deployment/{RELEASE}"
        log = self.cluster.kubectl(f"--namespace={OPERATOR}", "logs", operator, "--tail=60", check=False)
        return "\n".join([*(self.kubectl(*one, check=False) for one in words), log.stdout, log.stderr])

    def push(self, manifests: Path, *words: str) -> None:
        """`plumbline push --apply`, of what manifests name."""
        self.plumbline("push", "-f", str(manifests), "-n", self.team, "--apply", *words)

    def plumbline(self, *words: str) -> str:
        """What a command prints that is about the team's store, entered by the site's people.

        Raises:
            AssertionError: It ended with another code than 0.
        """
        command = [*words, "--store", self.store.uri]
        environment = {**os.environ, "KUBECONFIG": str(self.cluster.plane.kubeconfig), **self.store.environment}
        program = [sys.executable, "-m", "plumbline_operator", *command]
        done = subprocess.run(program, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def kill_operator(self) -> None:
        """Kill all its replicas at once; others take their place."""
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command, groups = (place / "cmdline").read_bytes().split(b"\0"), (place / "cgroup").read_text()
                if b"operator" in command[1:4] and self.cluster.machine.cgroup in groups:
                    os.kill(int(place.name), signal.SIGKILL)
        # New pods, because a container that is killed often is started again later and later.
        words = ("delete", "pods", f"--selector={OPERATOR_PODS}", "--grace-period=0", "--force", "--wait=false")
        self.cluster.kubectl(f"--namespace={OPERATOR}", *words)

    def clear(self) -> None:
        """Remove every object of ours, and wait until their pods are gone as well."""
        self.kubectl("delete", "plumbline", "--all", "--timeout=60s")
        self.kubectl("delete", "events", "--all")
        left = "--selector=app.kubernetes.io/managed-by=plumbline"
        self.kubectl("delete", "jobs,pods", left, "--grace-period=1", "--timeout=60s")

    @contextmanager
    def changed(self, values: Object) -> Iterator[None]:
        """`helm upgrade` with further values, for a while."""
        file = self.folder / "values-for-now.yaml"
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        self.helm("upgrade", str(CHART), "--reuse-values", f"--values={file}", "--wait", "--timeout=110s")
        try:
            yield
        finally:
            self.rollback(1)

    def wait(self, condition: str, thing: str, seconds: float = 600) -> None:
        """`kubectl wait`, but for what has come to a stop for good.

        Raises:
            AssertionError: It did not come to that; says what went on.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._is(condition, thing, 30):
                return
            if self._is("Stalled", thing, 0):
                break
        raise AssertionError(f"{thing} is not {condition}\n{self.describe()}")

    def _is(self, condition: str, thing: str, seconds: int) -> bool:
        words = ("wait", f"--for=condition={condition}", thing, f"--timeout={seconds}s")
        return self.kubectl(*words, check=False).endswith("condition met\n")


@contextmanager
def installed(
    cluster: RealCluster, release: Release, team: str, folder: Path, make_store: Callable[[], TeamStore], **more: Object
) -> Iterator[Installation]:
    """`helm install --wait` and `helm test` for a new team; afterwards the release and the team are gone.

    Raises:
        AssertionError: Helm refused, or the operator did not come up.
    """
    for name in (OPERATOR, team):
        cluster.apply(restricted_namespace(name), within(name, cluster.registry.pull_secret(PULL_SECRET)))
    found = Installation(cluster, team, make_store(), folder, more)
    try:
        found.install(release)
        yield found
        found.clear()
    finally:
        found.helm("uninstall", "--wait", check=False)
        cluster.kubectl("delete", "namespace", team, "--wait=false", check=False)
