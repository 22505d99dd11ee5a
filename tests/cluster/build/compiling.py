"""Compiles a program of a Go module whose versions and hashes lie beside this file, into a folder of the cache."""

import hashlib
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plumbline_api.names import ExitCode
from tests.cluster.build.cache import BuildError, need_space, remove, say
from tests.cluster.build.toolchain import Go, find_go

__all__ = ["Compiled", "Program", "compiled", "module_version"]

# The user's settings may name proxies; nothing they say may change what go.sum holds.
FLAGS = ("-mod=readonly", "-modcacherw", "-trimpath", "-buildvcs=false")
SECONDS_PER_LINE = 30.0
RESULT_MB = 300


@dataclass(frozen=True)
class Program:
    """What is compiled."""

    title: str
    """For people, with its version."""
    sources: Path
    """The folder with go.mod and go.sum."""
    package: str = "."
    link_flags: str = "-s -w"
    compiling_mb: int = 2000
    """Room that it takes in Go's own cache."""
    expectation: str = "some minutes"
    """How long it takes on two cores."""

    def folder(self, root: Path, name: str, version: str, *files: str) -> Path:
        """Where the build of exactly these files of the sources lies, built or not."""
        digest = hashlib.sha256(platform.machine().encode())
        for text in (*(self._text(file) for file in files), self.link_flags):
            digest.update(text.encode())
        return root / f"{name}-{version}-{digest.hexdigest()[:12]}"

    def needed_go(self) -> tuple[int, int]:
        """The oldest Go that will do."""
        major, minor = re.findall(r"^go (\d+)\.(\d+)", self._text("go.mod"), re.MULTILINE)[0]
        return int(major), int(minor)

    def _text(self, file: str) -> str:
        return (self.sources / file).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Compiled:
    """A program that has been compiled, while the sources of its modules are still there."""

    program: Program
    go: Go

    def module(self, path: str) -> Path:
        """The folder with the files of a module."""
        return Path(_ask(self.go, self.program, "list", "-m", "-f", "{{.Dir}}", path).strip())


def module_version(sources: Path, module: str) -> str:
    """The release of a module that the go.mod in a folder pins, such as 1.34.4."""
    text = (sources / "go.mod").read_text(encoding="utf-8")
    (version,) = re.findall(rf"^(?:require)?\s*{re.escape(module)} v(\S+)$", text, re.MULTILINE)
    return str(version)


@contextmanager
def compiled(program: Program, root: Path, target: Path, environment: Mapping[str, str]) -> Iterator[Compiled]:
    """Compile into a file; after what is then done with it, what only the compilation needed is removed.

    Raises:
        BuildError: There is no toolchain, no space or no network, or the compiler refused.
    """
    go = find_go(root, program.needed_go(), environment)
    need_space(root, RESULT_MB, "free some, or name another folder: XDG_CACHE_HOME=/path make test-cluster")
    cache = Path(_ask(go, program, "env", "GOCACHE").strip())
    need_space(cache, program.compiling_mb, "free some, or name another folder: GOCACHE=/path make test-cluster")
    say(f"building {program.title} with Go {go.version}: once, {program.expectation} on two cores")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        total = _fetch(go, program)
        say(f"modules are here after {time.monotonic() - began:.0f} s; compiling {total} packages")
        _compile(go, program, target, Path(scratch), total)
    say(f"built {program.title} in {time.monotonic() - began:.0f} s: {target.stat().st_size // 1_000_000} MB")
    yield Compiled(program, go)
    # Not where something failed: the next try goes on from what is there.
    for left in go.caches:
        remove(left)


def _fetch(go: Go, program: Program) -> int:
    """Bring every module that is needed onto this machine; return how many packages they make."""
    try:
        return len(_ask(go, program, "list", *FLAGS, "-deps", program.package).splitlines())
    except BuildError as error:
        raise BuildError(
            f"{error}\nwithout the open network, name your own module proxy: GOPROXY=ADDRESS make test-cluster",
            ExitCode.UNAVAILABLE,
        ) from error


def _compile(go: Go, program: Program, target: Path, scratch: Path, total: int) -> None:
    flags = [*FLAGS, "-v", "-ldflags", program.link_flags]
    command = [go.command, "build", *flags, "-o", str(target), program.package]
    settings = {**_settings(go), "GOTMPDIR": str(scratch)}
    began = last = time.monotonic()
    tail: list[str] = []
    with subprocess.Popen(command, cwd=program.sources, env=settings, stderr=subprocess.PIPE, text=True) as compiler:
        for done, line in enumerate(compiler.stderr or (), 1):
            tail = [*tail[-20:], line]
            if time.monotonic() - last > SECONDS_PER_LINE:
                last = time.monotonic()
                say(f"compiled {done} of at most {total} packages after {last - began:.0f} s")
    if compiler.returncode != 0:
        raise BuildError(f"go build ended with {compiler.returncode}:\n{''.join(tail).rstrip()}")


def _ask(go: Go, program: Program, *arguments: str) -> str:
    """What a Go command says about the module; raises BuildError where it refuses."""
    done = subprocess.run(
        [go.command, *arguments], cwd=program.sources, env=_settings(go), check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise BuildError(f"go {arguments[0]} ended with {done.returncode}:\n{done.stderr.strip()[-1500:]}")
    return done.stdout


def _settings(go: Go) -> dict[str, str]:
    # Static, so that the result runs on every distribution; a workspace around the checkout is not ours.
    return {**go.environment, "CGO_ENABLED": "0", "GOWORK": "off"}
