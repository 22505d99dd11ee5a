"""docker, podman and buildah: which of them works here, and the commands by which each builds and hands over an image.

All three read the same Dockerfiles. Secrets, cache mounts and times of files are spelled differently, and that is all
this module knows. Called by the main program.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from images.build.errors import BuildError
from plumbline_api.names import ExitCode

__all__ = ["EPOCH", "Builder", "Order", "find_builder"]

EPOCH: Final = 315532800
"""The time of every file in an image, in seconds: 1980-01-01, the first that all archives can hold.

One that moved with the commit would make every layer another one at every commit, and nodes would pull torch again for
a change of one line."""

_PROBES: Final = {
    "docker": (["docker", "buildx", "inspect"], "has no buildx, or its daemon does not answer"),
    "podman": (["podman", "info"], "does not work here: `podman info` fails"),
    "buildah": (["buildah", "info"], "does not work here: `buildah info` fails"),
}
_LOOKS: Final = {
    "docker": ["docker", "image", "inspect"],
    "podman": ["podman", "image", "inspect"],
    "buildah": ["buildah", "inspect", "--type", "image"],
}
_LOG_LINES: Final = 30


@dataclass(frozen=True)
class Order:
    """One image to build."""

    tag: str
    dockerfile: Path
    target: str
    context: Path
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    """Files that RUN steps see, and that are in no layer."""
    cached: bool = True
    """Whether layers of an earlier build may be taken."""


@dataclass(frozen=True)
class Builder:
    """A program that builds images."""

    name: str

    def build(self, order: Order, log: Path) -> None:
        """Build an image into the builder's own storage; what the builder says goes into a file.

        Raises:
            BuildError: It failed; the message ends with the last lines of the log.
        """
        _run(self.build_command(order), log)

    def build_command(self, order: Order) -> list[str]:
        """The command that builds an image."""
        command = [*self._verb(), "--file", str(order.dockerfile), "--target", order.target, "--tag", order.tag]
        if not order.cached:
            command.append("--no-cache")
        for key, value in order.arguments.items():
            command += ["--build-arg", f"{key}={value}"]
        for name, file in order.secrets.items():
            command += ["--secret", f"id={name},src={file}"]
        return [*command, str(order.context)]

    def export(self, tag: str, layout: Path, log: Path) -> None:
        """Write a built image into an OCI layout, alone and uncompressed; layers that are there are not written again.

        Raises:
            BuildError: It failed.
        """
        if self.name == "docker":
            archive = layout.with_suffix(".tar")
            _run(["docker", "save", "--output", str(archive), tag], log)
            shutil.unpack_archive(archive, layout, filter="data")
            archive.unlink()
            return
        flags = ["--quiet", "--dest-oci-accept-uncompressed-layers"]
        _run(["skopeo", "copy", *flags, f"containers-storage:{tag}", f"oci:{layout}"], log)

    @property
    def reads_all(self) -> bool:
        """Whether it reads all that one stage copies from another to find that it has done so before."""
        return self.name != "docker"

    def has(self, tag: str) -> bool:
        """Whether an image of this name is in its storage."""
        command = [*_LOOKS[self.name], tag]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def storage(self) -> Path | None:
        """Where it keeps its layers; None where it does not say."""
        if self.name == "docker":
            return None
        done = subprocess.run([self.name, "info"], check=False, capture_output=True, text=True)
        found = re.search(r'"?graphroot"?: "?([^",\n]+)', done.stdout, re.IGNORECASE)
        return Path(found[1]) if found else None

    def _verb(self) -> list[str]:
        """What is said differently: the command, the format, and how times are set."""
        if self.name == "docker":
            return [
                *("docker", "buildx", "build", "--provenance=false", "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}"),
                *("--output", "type=docker,rewrite-timestamp=true"),
            ]
        flags = ["--layers", "--format", "oci", "--identity-label=false", "--timestamp", str(EPOCH)]
        if self.name == "podman":
            return ["podman", "build", *flags]
        # Takes neither runc nor user namespaces.
        return ["buildah", "build", "--isolation", "chroot", *flags]


def find_builder(wanted: str = "") -> Builder:
    """The builder of this name, or the first that works of docker, podman and buildah.

    Raises:
        BuildError: There is none; the message says of each why.
    """
    if wanted and wanted not in _PROBES:
        raise BuildError(f"BUILDER={wanted}: the builders are {', '.join(_PROBES)}", ExitCode.BAD_SPEC)
    problems = []
    for name in [wanted] if wanted else _PROBES:
        problem = _problem(name)
        if problem is None:
            return Builder(name)
        problems.append(f"{name} {problem}")
    raise BuildError(f"{'; '.join(problems)}. Install one: apt-get install buildah skopeo", ExitCode.BAD_CONFIG)


def _problem(name: str) -> str | None:
    if shutil.which(name) is None:
        return "is not installed"
    command, problem = _PROBES[name]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        return problem
    return None if name == "docker" or shutil.which("skopeo") else "needs skopeo, which copies what it built"


def _run(command: Sequence[str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
        raise BuildError(f"{' '.join(command[:2])} failed; {log} has all of it, and ends:\n{tail}")
