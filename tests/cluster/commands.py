"""The real kubectl and Helm, run against a control plane as a person would."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.controlplane import ControlPlane

__all__ = ["run_helm", "run_kubectl"]

PATIENCE = 120.0


def run_kubectl(
    plane: ControlPlane,
    *arguments: str,
    text: str = "",
    check: bool = True,
    kubeconfig: Path | None = None,
    program: Path | None = None,
    seconds: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """One call of kubectl as the administrator, or as whom the kubeconfig names; `text` is what `-f -` reads.

    Raises:
        AssertionError: It did not succeed, and `check` asked for that.
    """
    command = [str(program or plane.programs.kubectl), *arguments]
    return _run(command, kubeconfig or plane.kubeconfig, {}, text, check=check, seconds=seconds)


def run_helm(
    plane: ControlPlane,
    major: int,
    *arguments: str,
    text: str = "",
    check: bool = True,
    kubeconfig: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """One call of Helm 3 or 4, with its caches and settings beside the control plane and nothing of the user's.

    Raises:
        AssertionError: It did not succeed, and `check` asked for that.
    """
    home = plane.folder / f"helm{major}"
    settings = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    command = [str(plane.programs.helm(major)), *arguments]
    return _run(command, kubeconfig or plane.kubeconfig, settings, text, check=check)


def _run(
    command: list[str],
    kubeconfig: Path,
    settings: Mapping[str, str],
    text: str,
    *,
    check: bool,
    seconds: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
    # Discovery is cached beside the kubeconfig, which goes with its control plane: ports are used again by others.
    ours = {"KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(kubeconfig.with_suffix(".cache")), **settings}
    done = subprocess.run(
        command, env={**kept, **ours}, input=text, timeout=seconds, check=False, capture_output=True, text=True
    )
    if check and done.returncode != 0:
        shown = " ".join([Path(command[0]).name, *command[1:]])
        raise AssertionError(f"{shown} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done
