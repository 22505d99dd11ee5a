"""Compiles the program of the test images, and lays it out as the two images that the tests use."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.build.cache import publish
from tests.cluster.build.compiling import Program, compiled
from tests.e2e.oci import Image, write_layout

__all__ = ["PAUSE", "PAUSE_NAME", "PROBE", "build_probe", "probe_folder"]

SOURCES = Path(__file__).with_name("probe")
PROBE = "probe"
"""The folder of the image that tests run, an OCI layout."""
PAUSE = "pause"
"""The folder of the image that holds the namespaces of every pod."""
PAUSE_NAME = "localhost/plumbline-pause:1"
RESTRICTED_USER = "65532:65532"


def probe_folder(root: Path) -> Path:
    """Where the images of exactly these sources lie, made or not."""
    return _program().folder(root, PROBE, "1", "main.go", "go.mod")


def build_probe(root: Path, environment: Mapping[str, str]) -> Path:
    """The folder with both images, made unless it is there.

    Raises:
        BuildError: There is no toolchain or no space, or the compiler refused.
    """
    return publish(probe_folder(root), lambda folder: _build(root, folder, environment))


def _program() -> Program:
    return Program("the test image", SOURCES, compiling_mb=300, expectation="half a minute")


def _build(root: Path, folder: Path, environment: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        program = Path(scratch, PROBE)
        with compiled(_program(), root, program, environment):
            entry = (f"/{PROBE}",)
            files = {PROBE: program.read_bytes()}
            write_layout(folder / PROBE, Image(files, entry, user=RESTRICTED_USER))
            write_layout(folder / PAUSE, Image(files, (*entry, "pause"), user=RESTRICTED_USER), name=PAUSE_NAME)
