"""Compiles the controller of JobSet, and takes its CustomResourceDefinition and its webhooks out of the same module."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.build.cache import publish
from tests.cluster.build.compiling import Program, compiled, module_version

__all__ = ["CONTROLLER", "CRD", "WEBHOOKS", "build_jobset", "jobset_folder", "jobset_version"]

SOURCES = Path(__file__).with_name("jobset")
MODULE = "sigs.k8s.io/jobset"
CONTROLLER = "jobset"
CRD, WEBHOOKS = "crd.yaml", "webhooks.yaml"
TAKEN = {
    CRD: "config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml",
    WEBHOOKS: "config/components/webhook/manifests.yaml",
}
"""Files of the module."""


def jobset_version() -> str:
    """The release that is built, such as 0.10.1."""
    return module_version(SOURCES, MODULE)


def jobset_folder(root: Path) -> Path:
    """Where the build of exactly these sources lies, built or not."""
    return _program().folder(root, "jobset", jobset_version(), "go.mod", "go.sum")


def build_jobset(root: Path, environment: Mapping[str, str]) -> Path:
    """The folder with the controller and its files, compiled unless it is there.

    Raises:
        BuildError: There is no toolchain, no space or no network, or the compiler refused.
    """
    place = jobset_folder(root)
    return publish(place, lambda folder: _build(root, folder, environment))


def _program() -> Program:
    return Program(f"JobSet {jobset_version()}", SOURCES, MODULE, expectation="some 3 minutes")


def _build(root: Path, folder: Path, environment: Mapping[str, str]) -> None:
    with compiled(_program(), root, folder / CONTROLLER, environment) as made:
        module = made.module(MODULE)
        for name, path in TAKEN.items():
            shutil.copyfile(module / path, folder / name)
