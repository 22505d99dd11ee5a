"""Compiles Kubernetes and etcd, one program for all components, from the Go sources beside this file."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.build.cache import BuildError, publish
from tests.cluster.build.compiling import Program, compiled, module_version

__all__ = ["COMPONENTS", "build_kubernetes", "kubernetes_folder", "kubernetes_version"]

SOURCES = Path(__file__).with_name("kube")
COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)


def kubernetes_version() -> str:
    """The release that is built, such as 1.34.4."""
    return module_version(SOURCES, "k8s.io/kubernetes")


def kubernetes_folder(root: Path) -> Path:
    """Where the build of exactly these sources lies, built or not."""
    return _program().folder(root, "kube", kubernetes_version(), "main.go", "go.mod", "go.sum")


def build_kubernetes(root: Path, environment: Mapping[str, str]) -> Path:
    """The folder with one program per component, compiled unless it is there.

    Raises:
        BuildError: There is no toolchain, no space or no network, or the compiler refused.
    """
    place = kubernetes_folder(root)
    return publish(place, lambda folder: _build(root, folder, environment))


def _program() -> Program:
    return Program(
        title=f"Kubernetes {kubernetes_version()}",
        sources=SOURCES,
        link_flags=_link_flags(),
        compiling_mb=4500,
        expectation="some 10 minutes",
    )


def _build(root: Path, folder: Path, environment: Mapping[str, str]) -> None:
    with compiled(_program(), root, folder / "kube", environment):
        for name in COMPONENTS:
            (folder / name).symlink_to("kube")
        _check(folder)


def _check(folder: Path) -> None:
    """Refuse to publish what does not run or says it is another version."""
    for command, said in [
        (["kubectl", "version", "--client"], f"v{kubernetes_version()}"),
        (["kube-apiserver", "--version"], f"v{kubernetes_version()}"),
        (["etcd", "--version"], "etcd Version"),
    ]:
        done = subprocess.run([folder / command[0], *command[1:]], check=False, capture_output=True, text=True)
        if done.returncode != 0 or said not in done.stdout:
            raise BuildError(f"what was built is no {command[0]}: {(done.stdout + done.stderr).strip()[-500:]}")


def _link_flags() -> str:
    """Strip debug symbols, and say the release: `kubectl version` and `/version` answer v0.0.0-master otherwise."""
    major, minor = kubernetes_version().split(".")[:2]
    said = {"gitVersion": f"v{kubernetes_version()}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={text}" for name, text in said.items())])
