"""What a platform team types to bring Plumbline to a cluster with Argo CD: the commands of the example's README."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.controlplane import ControlPlane
from tests.e2e.argocd.processes import NAMESPACE, ArgoCD
from tests.e2e.argocd.site import Site

__all__ = ["RELEASE", "Platform", "kubectl", "merge_settings"]

RELEASE = "plumbline"
"""The chart's release, its namespace and its service account."""


@dataclass(frozen=True)
class Platform:
    """What a platform team runs."""

    plane: ControlPlane
    argocd: ArgoCD
    site: Site
    folder: Path


def merge_settings(argocd: ArgoCD, site: Site) -> None:
    """The two commands of the example's README that change argocd-cm."""
    health = site.folder / "argocd/application-health.yaml"
    kubectl(argocd, f"kubectl -n {NAMESPACE} patch configmap argocd-cm --type merge --patch-file {health}")
    kubectl(
        argocd,
        f"helm template plumbline {site.folder}/platform/plumbline -n plumbline -f {site.folder}/platform/values.yaml "
        "--show-only templates/argocd.yaml | kubectl create --dry-run=client -f - "
        """-o jsonpath='{"{"}"data":{.data}{"}"}' | """
        f"kubectl -n {NAMESPACE} patch configmap argocd-cm --type merge --patch-file /dev/stdin",
    )


def kubectl(argocd: ArgoCD, command: str) -> str:
    """A line of a shell with this build's kubectl and helm; what it printed.

    Raises:
        AssertionError: It did not succeed.
    """
    plane = argocd.plane
    tools = plane.folder / "tools"
    tools.mkdir(exist_ok=True)
    for name, program in (("kubectl", plane.programs.kubectl), ("helm", plane.programs.helm(3))):
        if not (tools / name).exists():
            (tools / name).symlink_to(program)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "KUBECONFIG": str(plane.kubeconfig)}
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", command],
        env=env,
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{argocd.describe()}"
    return done.stdout
