"""Installs the Debian packages of the test node; none of their services is started, now or at the next boot."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from plumbline_api.names import ExitCode
from tests.cluster.build.cache import BuildError, say

__all__ = ["PACKAGES", "PLUGINS", "find_program", "install_packages", "missing_packages"]

PACKAGES = {
    "apache2-utils": "htpasswd",
    "buildah": "buildah",
    "containerd": "containerd",
    "containernetworking-plugins": "ptp",
    "docker-registry": "docker-registry",
    "git": "git",
    "iproute2": "ip",
    "nftables": "nft",
    "redis-server": "redis-server",
    "runc": "runc",
    "skopeo": "skopeo",
}
"""Each package, and the program for which it is there; who has that from elsewhere needs no package."""
PLUGINS = ("/usr/lib/cni", "/opt/cni/bin")
"""Where Debian and everybody else keep the plugins of the pod network."""
ADMINISTRATION = ("/usr/sbin", "/sbin", *PLUGINS)
SERVICES = ("containerd", "docker-registry", "redis-server")
POLICY = Path("/usr/sbin/policy-rc.d")
NOT_ALLOWED = "#!/bin/sh\nexit 101\n"
"""What Debian's policy-rc.d says when no service may be started."""


def find_program(name: str) -> str | None:
    """Where a program lies, also when the user's PATH lacks the folders of the administrator."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *ADMINISTRATION]))


def missing_packages() -> list[str]:
    """The packages whose programs are not there."""
    return [package for package, program in PACKAGES.items() if find_program(program) is None]


def install_packages() -> None:
    """Install what is missing.

    Raises:
        BuildError: There is no apt, or it could not.
    """
    wanted = missing_packages()
    if not wanted:
        return
    if shutil.which("apt-get") is None:
        raise BuildError(
            f"install, with what this machine has instead of apt: {', '.join(wanted)}", ExitCode.BAD_CONFIG
        )
    planned = _apt("--assume-no", *wanted)
    sizes = " ".join(re.findall(r"^(?:Need to get|After this operation).*", planned.stdout, re.MULTILINE))
    say(f"installing {', '.join(wanted)}. {sizes}")
    with _no_service_starts():
        done = _apt("--yes", *wanted)
        if done.returncode != 0:
            say("that failed; reading the list of packages anew")
            subprocess.run(["apt-get", "update", "-q"], check=False, capture_output=True)  # noqa: S607
            done = _apt("--yes", *wanted)
    if done.returncode != 0 or missing_packages():
        told = done.stderr.strip()[-1500:]
        raise BuildError(f"apt-get install ended with {done.returncode}:\n{told}", ExitCode.UNAVAILABLE)


def _apt(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["apt-get", "install", "--no-install-recommends", "-q", "-o", "Dpkg::Use-Pty=0", *arguments]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, env=quiet, check=False, capture_output=True, text=True)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    before = [service for service in SERVICES if _is_known(service)]
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text(NOT_ALLOWED, encoding="utf-8")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink()
        _disable([service for service in SERVICES if service not in before and _is_known(service)])


def _is_known(service: str) -> bool:
    return Path(f"/lib/systemd/system/{service}.service").exists()


def _disable(services: Sequence[str]) -> None:
    if services and shutil.which("systemctl"):
        subprocess.run(["systemctl", "disable", "--quiet", *services], check=False, capture_output=True)  # noqa: S607
