"""Compiles Argo CD, one program for all its components, and takes its CRDs and default settings out of its module."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.build.cache import publish
from tests.cluster.build.compiling import Program, compiled, module_version

__all__ = ["COMPONENTS", "CRDS", "SETTINGS", "argocd_folder", "argocd_version", "build_argocd"]

SOURCES = Path(__file__).with_name("argocd")
MODULE = "github.com/argoproj/argo-cd/v3"
COMPONENTS = ("argocd", "argocd-application-controller", "argocd-git-ask-pass", "argocd-repo-server", "argocd-server")
"""Names of the one program; it does what it is called."""
CRDS, SETTINGS = "crds", "argocd-cm.yaml"
TAKEN = {CRDS: "manifests/crds", SETTINGS: "manifests/base/config/argocd-cm.yaml"}
"""Files of the module."""


def argocd_version() -> str:
    """The release that is built, such as 3.2.11."""
    return module_version(SOURCES, MODULE)


def argocd_folder(root: Path) -> Path:
    """Where the build of exactly these sources lies, built or not."""
    return _program().folder(root, "argocd", argocd_version(), "go.mod", "go.sum")


def build_argocd(root: Path, environment: Mapping[str, str]) -> Path:
    """The folder with one program per component and the module's files, compiled unless it is there.

    Raises:
        BuildError: There is no toolchain, no space or no network, or the compiler refused.
    """
    place = argocd_folder(root)
    return publish(place, lambda folder: _build(root, folder, environment))


def _program() -> Program:
    flags = f"-s -w -X {MODULE}/common.version={argocd_version()}"
    title = f"Argo CD {argocd_version()}"
    return Program(title, SOURCES, f"{MODULE}/cmd", link_flags=flags, expectation="some 5 minutes")


def _build(root: Path, folder: Path, environment: Mapping[str, str]) -> None:
    with compiled(_program(), root, folder / "argo", environment) as made:
        for name in COMPONENTS:
            (folder / name).symlink_to("argo")
        module = made.module(MODULE)
        for name, path in TAKEN.items():
            _take(module / path, folder / name)


def _take(source: Path, target: Path) -> None:
    """Copy a file or a folder; the module cache is read-only, and whoever removes ours must be able to."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=shutil.copyfile)
        target.chmod(0o755)
    else:
        shutil.copyfile(source, target)
