"""The base made out of Debian packages: archives of files, from the packages that are named here and nothing else.

apt finds, fetches and verifies the packages, from the sources of Debian bookworm that this machine has, or from those
in a file; dpkg-deb opens them. Nothing is installed and none of their scripts run, so it takes no rights of root, and
there is no package manager, no shell and no perl in what comes out. Called by the workshop.
"""

import hashlib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.build.archive import Entry, read_archive, write_archive
from images.build.errors import BuildError
from plumbline_api.names import ExitCode

__all__ = ["ARCHIVES", "CHECKSUMS", "RELEASE", "host_sources", "is_left_out", "make_archives"]

RELEASE: Final = "bookworm"

LIBRARIES: Final = (
    "base-files", "ca-certificates", "gcc-12-base", "libbz2-1.0", "libc6", "libcrypt1", "libexpat1", "libffi8",
    "libgcc-s1", "liblzma5", "libsqlite3-0", "libssl3", "libstdc++6", "libuuid1", "media-types", "netbase", "zlib1g",
)  # fmt: skip
PYTHON: Final = ("libpython3.11-minimal", "libpython3.11-stdlib", "python3.11-minimal")
TOOLS: Final = (
    "coreutils", "dash", "libacl1", "libattr1", "libgmp10", "libpcre2-8-0", "libselinux1", "python3-pip-whl",
    "python3-setuptools-whl", "python3.11-venv",
)  # fmt: skip
"""What the build stages need besides: a shell, its commands, and Python's venv with pip."""

ARCHIVES: Final = ("root.tar", "python.tar", "tools.tar")
CHECKSUMS: Final = "packages.txt"
"""Which packages the archives are made of: name, version, SHA-256."""

_KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_STANDARD: Final = "usr/lib/python3.11/"
_CERTIFICATES: Final = "usr/share/ca-certificates/"
_MERGED: Final = re.compile(r"(bin|lib|lib64|sbin)/")
_LEFT_OUT: Final = re.compile(
    r"""usr/share/(doc/(?!.*/copyright$)|(man|locale|info|lintian|bug|doc-base|base-files|gcc|gdb|applications|pixmaps)/)
    |usr/lib/python3\.11/(idlelib|lib2to3|pydoc_data|turtledemo|test)/
    |usr/lib/python3\.11/lib-dynload/(_curses|_curses_panel|_dbm|nis|readline)\.
    |usr/lib/[^/]+-linux-gnu/(gconv/(?!gconv-modules|UTF|UNICODE)|audit/)
    |usr/s?bin/update-
    |etc/(cron|default|update-motd|profile|issue|dpkg|skel|logcheck|ca-certificates)""",
    re.VERBOSE,
)
_LINKS: Final = {
    **{name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")},
    "usr/bin/python3": "python3.11",
    "usr/lib/ssl/cert.pem": "/etc/ssl/certs/ca-certificates.crt",
}
_FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/:/usr/sbin/nologin\nplumbline:x:65532:65532:plumbline:/tmp:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nplumbline:x:65532:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}
_FOLDERS: Final = {**dict.fromkeys(("dev", "opt", "proc", "run", "sys", "usr/sbin"), 0o755), "tmp": 0o1777}


@dataclass(frozen=True)
class Package:
    """A package, fetched and verified by apt."""

    name: str
    version: str
    file: Path


def make_archives(folder: Path, sources: Path | None, epoch: int) -> None:
    """Write ARCHIVES and CHECKSUMS into a folder; the same packages give the same bytes.

    Raises:
        BuildError: apt is not there, knows no sources of the release, or could not fetch.
    """
    packages = _fetch(folder.resolve() / "apt", sources)
    parts: dict[str, dict[str, Entry]] = {name: {} for name in ARCHIVES}
    for package in packages:
        for name, entry in _files(package):
            parts[_archive_of(package, name)][name] = entry
    root = parts["root.tar"]
    root |= {
        f"var/lib/dpkg/status.d/{package.name}": _status(package) for package in packages if package.name not in TOOLS
    }
    authorities = [
        root[name].content for name in sorted(root) if name.startswith(_CERTIFICATES) and name.endswith(".crt")
    ]
    root["etc/ssl/certs/ca-certificates.crt"] = Entry(b"".join(authorities))
    root |= {name: Entry(text.encode()) for name, text in _FILES.items()}
    root |= {name: Entry(link=target) for name, target in _LINKS.items()}
    root |= {name: Entry(mode=mode, folder=True) for name, mode in _FOLDERS.items()}
    for name, entries in parts.items():
        write_archive(folder / name, entries, epoch)
    lines = [f"{package.name} {package.version} {_sha256(package.file)}\n" for package in packages]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def is_left_out(name: str) -> bool:
    """Whether no process of ours reads this file: documents, other languages, modules without their library."""
    return _LEFT_OUT.match(name) is not None


def host_sources() -> str:
    """The sources of RELEASE that this machine's apt is configured with, as lines of a list; maybe none."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    lines = sorted({tuple(line.split()) for line in _run(command).decode().splitlines()})
    suites = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
    signed = f"[signed-by={_KEYS}] " if _KEYS.exists() else ""
    return "".join(
        f"deb {signed}{uri} {suite} main\n" for uri, suite, part in lines if suite in suites and part == "main"
    )


def _fetch(folder: Path, sources: Path | None) -> list[Package]:
    """Let apt fetch the newest of every package, with lists and caches of our own."""
    text = host_sources() if sources is None else sources.read_text(encoding="utf-8")
    if not text.strip():
        raise BuildError(
            f"the base is made of packages of Debian {RELEASE}, and this machine's apt has no sources of that: "
            "name a file with some (APT_SOURCES=FILE), or an image to build on (BASE=IMAGE BUILD_BASE=IMAGE)",
            ExitCode.BAD_CONFIG,
        )
    for name in ("lists/partial", "cache/archives/partial", "packages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text("")
    (folder / "sources.list").write_text(text, encoding="utf-8")
    places = {
        "Dir::Etc::SourceList": "sources.list",
        "Dir::Etc::SourceParts": "none",
        "Dir::State::Lists": "lists",
        "Dir::State::Status": "status",
        "Dir::Cache": "cache",
    }
    options = [part for key, place in places.items() for part in ("-o", f"{key}={folder / place}")]
    options += ["-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none", "-qq"]
    _run(["apt-get", *options, "update"])
    for old in (folder / "packages").iterdir():
        old.unlink()
    _run(["apt-get", *options, "download", *LIBRARIES, *PYTHON, *TOOLS], folder / "packages")
    found = [_identify(file) for file in (folder / "packages").glob("*.deb")]
    return sorted(found, key=lambda package: package.name)


def _identify(file: Path) -> Package:
    shown = _run(["dpkg-deb", "--show", "--showformat", "${Package} ${Version}", str(file)]).decode()
    name, version = shown.split()
    return Package(name, version, file)


def _status(package: Package) -> Entry:
    """What scanners for known vulnerabilities look for where there is no package manager."""
    return Entry(_run(["dpkg-deb", "--field", str(package.file)]))


def _archive_of(package: Package, name: str) -> str:
    if package.name in TOOLS:
        return "tools.tar"
    return "python.tar" if name.startswith(_STANDARD) else "root.tar"


def _files(package: Package) -> list[tuple[str, Entry]]:
    """The files of a package that are wanted, with the names that they have where /bin and /lib are links into /usr."""
    entries = read_archive(_run(["dpkg-deb", "--fsys-tarfile", str(package.file)]))
    moved = ((f"usr/{name}" if _MERGED.match(name) else name, entry) for name, entry in entries)
    return [(name, entry) for name, entry in moved if not entry.folder and not is_left_out(name)]


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _run(command: Sequence[str], folder: Path | None = None) -> bytes:
    """What a command prints.

    Raises:
        BuildError: It is not there, or failed.
    """
    try:
        done = subprocess.run(list(command), cwd=folder, check=False, capture_output=True)
    except FileNotFoundError as error:
        remedy = "run this on Debian or Ubuntu, or name an image to build on: BASE=IMAGE BUILD_BASE=IMAGE"
        raise BuildError(
            f"{command[0]} is not there, which makes the base out of packages; {remedy}", ExitCode.BAD_CONFIG
        ) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-1500:]
        raise BuildError(f"{command[0]} failed, so there is no base:\n{said}", ExitCode.UNAVAILABLE)
    return done.stdout
