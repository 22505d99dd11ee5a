"""What is told to a build: by the command line and make, by the commit, and by what pip is configured with here."""

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from images.build.catalogue import IMAGES, ROOT
from images.build.errors import BuildError
from plumbline_api.names import ExitCode

__all__ = ["Commit", "Settings", "pip_settings", "read_commit", "read_settings", "version"]

_AUTHORITIES: Final = "/run/secrets/ca.crt"
"""Where RUN steps find the certificates of this machine."""
_TAKEN: Final = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout", "timeout", "retries")
"""What of pip's settings makes sense in another file system."""


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    only: str
    builder: str
    base: str
    build_base: str
    apt_sources: Path | None
    new_base: bool
    torch_index: str
    torch_sha256: str
    source: str
    output: Path
    again: bool


@dataclass(frozen=True)
class Commit:
    """What is built."""

    revision: str
    """The commit; with `-modified` where files differ from it; empty outside of a repository."""
    made: int
    """When, in seconds."""

    @property
    def created(self) -> str:
        """When, as the labels of an image have it."""
        return datetime.fromtimestamp(self.made, UTC).isoformat().replace("+00:00", "Z")


def read_settings(arguments: Sequence[str]) -> Settings:
    """Parse the command line.

    Raises:
        BuildError: Options that belong together are not.
    """
    given = _parser().parse_args(arguments)
    if bool(given.base) != bool(given.build_base):
        raise BuildError("BASE and BUILD_BASE belong together; docs/images.md says what each needs", ExitCode.BAD_SPEC)
    if bool(given.torch_index) != bool(given.torch_sha256):
        raise BuildError("TORCH_INDEX needs TORCH_SHA256, the hash of the CPU wheel of torch there", ExitCode.BAD_SPEC)
    return Settings(**vars(given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make images",
        description="Build the images into an OCI layout, with their digests, sizes and bills of materials beside it.",
        epilog="make hands these on by name: make images ONLY=guard,operator BUILDER=podman",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    option = parser.add_argument
    option("--only", default="", metavar="NAMES", help=f"of {','.join(IMAGES)}; all where empty")
    option("--builder", default="", metavar="NAME", help="docker, podman or buildah; the first that works where empty")
    option("--base", default="", metavar="IMAGE", help="what the images stand on; made of Debian packages where empty")
    option("--build-base", default="", metavar="IMAGE", help="the same with a shell and Python's venv, to build in")
    option("--apt-sources", type=_file, metavar="FILE", help="of Debian bookworm; this machine's where not given")
    option("--new-base", action="store_true", help="make the base anew, of the newest packages")
    option("--torch-index", default="", metavar="URL", help="an index of CPU wheels of torch")
    option("--torch-sha256", default="", metavar="HASH", help="the hash of the wheel there")
    option("--source", default="", metavar="URL", help="where the sources are, for the label")
    option("--output", type=Path, default=Path("build/images"), metavar="DIR", help="where everything goes")
    option("--again", action="store_true", help="build without any cache, and fail where a digest is not the one there")
    return parser


def _file(text: str) -> Path | None:
    if not text:
        return None
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is not a file")
    return Path(text)


def version() -> str:
    """The version of every package of ours."""
    project = tomllib.loads((ROOT / "operator/pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def read_commit(environment: Mapping[str, str]) -> Commit:
    """The commit of this checkout; where there is none, SOURCE_DATE_EPOCH must say the time.

    Raises:
        BuildError: Nothing says it.
    """
    told = environment.get("SOURCE_DATE_EPOCH", "")
    try:
        revision, made = _git("show", "--no-patch", "--format=%H %ct", "HEAD").split()
        changed = "-modified" if _git("status", "--porcelain") else ""
    except (OSError, subprocess.CalledProcessError) as error:
        if not told:
            remedy = "build in a git checkout, or say when it was made: SOURCE_DATE_EPOCH=SECONDS"
            raise BuildError(f"no commit says what is built; {remedy}", ExitCode.BAD_CONFIG) from error
        return Commit("", int(told))
    return Commit(revision + changed, int(told or made))


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S607


def pip_settings(folder: Path) -> Mapping[str, Path]:
    """Files for the RUN steps that fetch packages: what pip is configured with here, and the authorities it trusts.

    They are mounted for the time of a step, so no address and no password of an index comes to be in a layer.
    """
    command = [sys.executable, "-m", "pip", "config", "list"]
    shown = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    told = re.findall(r"^(global|install|:env:)\.([\w-]+)='(.*)'$", shown, re.MULTILINE)
    # The environment is the strongest, as in pip.
    found = {key: value for scope in ("global", "install", ":env:") for named, key, value in told if named == scope}
    written = configparser.RawConfigParser()
    written["global"] = {key: value.replace("\\n", "\n") for key, value in found.items() if key in _TAKEN}
    if "default-timeout" in found:
        written["global"]["timeout"] = written["global"].pop("default-timeout")
    authorities = next((path for path in map(Path, _bundles(found)) if path.is_file()), None)
    secrets = {"pip.conf": folder / "pip.conf"}
    if authorities is not None:
        written["global"]["cert"] = _AUTHORITIES
        secrets["ca.crt"] = folder / "ca.crt"
        shutil.copyfile(authorities, secrets["ca.crt"])
    with secrets["pip.conf"].open("w", encoding="utf-8") as file:
        written.write(file)
    return secrets


def _bundles(settings: Mapping[str, str]) -> list[str]:
    named = [settings.get("cert", ""), os.environ.get("SSL_CERT_FILE", ""), "/etc/ssl/certs/ca-certificates.crt"]
    return [name for name in [*named, "/etc/pki/tls/certs/ca-bundle.crt"] if name]
