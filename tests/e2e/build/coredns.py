"""Compiles CoreDNS with the plugins that the test node uses."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.build.cache import BuildError, publish
from tests.cluster.build.compiling import Program, compiled, module_version

__all__ = ["COREDNS", "build_coredns", "coredns_folder", "coredns_version"]

SOURCES = Path(__file__).with_name("coredns")
COREDNS = "coredns"


def coredns_version() -> str:
    """The release that is built, such as 1.13.2."""
    return module_version(SOURCES, "github.com/coredns/coredns")


def coredns_folder(root: Path) -> Path:
    """Where the build of exactly these sources lies, built or not."""
    return _program().folder(root, COREDNS, coredns_version(), "main.go", "go.mod", "go.sum")


def build_coredns(root: Path, environment: Mapping[str, str]) -> Path:
    """The folder with the program, compiled unless it is there.

    Raises:
        BuildError: There is no toolchain, no space or no network, or the compiler refused.
    """
    return publish(coredns_folder(root), lambda folder: _build(root, folder, environment))


def _program() -> Program:
    return Program(f"CoreDNS {coredns_version()}", SOURCES, expectation="some 2 minutes")


def _build(root: Path, folder: Path, environment: Mapping[str, str]) -> None:
    program = folder / COREDNS
    with compiled(_program(), root, program, environment):
        done = subprocess.run([program, "-plugins"], check=False, capture_output=True, text=True)
        if done.returncode != 0 or "kubernetes" not in done.stdout.split():
            raise BuildError(f"what was built is no CoreDNS: {(done.stdout + done.stderr).strip()[-500:]}")
