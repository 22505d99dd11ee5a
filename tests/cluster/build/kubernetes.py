"""Compiles Kubernetes and etcd, one program for all components, from the Go sources beside this file."""

import hashlib
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from plumbline_api.names import ExitCode
from tests.cluster.build.cache import BuildError, need_space, publish, remove, say
from tests.cluster.build.toolchain import Go, find_go

__all__ = ["COMPONENTS", "build_kubernetes", "kubernetes_folder", "kubernetes_version"]

SOURCES = Path(__file__).with_name("kube")
COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
OURS = "plumbline.test/kube"
"""The module of main.go, compiled last."""
COMPILING_MB, RESULT_MB = 4500, 300
# The user's settings may name proxies; nothing they say may change what go.sum holds.
FLAGS = ("-mod=readonly", "-modcacherw", "-trimpath", "-buildvcs=false")
SECONDS_PER_LINE = 30.0


def kubernetes_version() -> str:
    """The release that is built, such as 1.34.4."""
    (version,) = re.findall(r"^\s*k8s\.io/kubernetes v(\S+)$", _text("go.mod"), re.MULTILINE)
    return str(version)


def kubernetes_folder(root: Path) -> Path:
    """Where the build of exactly these sources lies, built or not."""
    digest = hashlib.sha256(platform.machine().encode())
    for text in (_text("main.go"), _text("go.mod"), _text("go.sum"), _link_flags()):
        digest.update(text.encode())
    return root / f"kube-{kubernetes_version()}-{digest.hexdigest()[:12]}"


def build_kubernetes(root: Path, environment: Mapping[str, str]) -> Path:
    """The folder with one program per component, compiled unless it is there.

    Raises:
        BuildError: There is no toolchain, no space or no network, or the compiler refused.
    """
    place = kubernetes_folder(root)
    return publish(place, lambda folder: _build(root, folder, environment))


def _build(root: Path, folder: Path, environment: Mapping[str, str]) -> None:
    needed = re.findall(r"^go (\d+)\.(\d+)", _text("go.mod"), re.MULTILINE)[0]
    go = find_go(root, (int(needed[0]), int(needed[1])), environment)
    need_space(root, RESULT_MB, "free some, or name another folder: XDG_CACHE_HOME=/path make test-cluster")
    cache = Path(_ask(go, "env", "GOCACHE").strip())
    need_space(cache, COMPILING_MB, "free some, or name another folder: GOCACHE=/path make test-cluster")
    say(f"building Kubernetes {kubernetes_version()} with Go {go.version}: once, some 10 minutes on two cores")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        total = _fetch(go)
        say(f"modules are here after {time.monotonic() - began:.0f} s; compiling {total} packages")
        _compile(go, folder / "kube", Path(scratch), total)
    for name in COMPONENTS:
        (folder / name).symlink_to("kube")
    _check(folder)
    for left in go.caches:
        remove(left)
    size = (folder / "kube").stat().st_size // 1_000_000
    say(f"built Kubernetes {kubernetes_version()} in {time.monotonic() - began:.0f} s: {size} MB")


def _fetch(go: Go) -> int:
    """Bring every module that is needed onto this machine; return how many packages they make."""
    try:
        return len(_ask(go, "list", *FLAGS, "-deps", ".").splitlines())
    except BuildError as error:
        raise BuildError(
            f"{error}\nwithout the open network, name your own module proxy: GOPROXY=ADDRESS make test-cluster",
            ExitCode.UNAVAILABLE,
        ) from error


def _compile(go: Go, program: Path, scratch: Path, total: int) -> None:
    command = [go.command, "build", *FLAGS, "-v", "-ldflags", _link_flags(), "-o", str(program), "."]
    settings = {**_settings(go), "GOTMPDIR": str(scratch)}
    began = last = time.monotonic()
    tail: list[str] = []
    with subprocess.Popen(command, cwd=SOURCES, env=settings, stderr=subprocess.PIPE, text=True) as compiler:
        for done, line in enumerate(compiler.stderr or (), 1):
            tail = [*tail[-20:], line]
            if line.strip() == OURS:
                say(f"compiled everything after {time.monotonic() - began:.0f} s; linking")
            elif time.monotonic() - last > SECONDS_PER_LINE:
                last = time.monotonic()
                say(f"compiled {done} of at most {total} packages after {last - began:.0f} s")
    if compiler.returncode != 0:
        raise BuildError(f"go build ended with {compiler.returncode}:\n{''.join(tail).rstrip()}")


def _check(folder: Path) -> None:
    """Refuse to publish what does not run or says it is another version."""
    for command, said in [
        (["kubectl", "version", "--client"], f"v{kubernetes_version()}"),
        (["kube-apiserver", "--version"], f"v{kubernetes_version()}"),
        (["etcd", "--version"], "etcd Version"),
    ]:
        done = subprocess.run([folder / command[0], *command[1:]], check=False, capture_output=True, text=True)
        if done.returncode != 0 or said not in done.stdout:
            raise BuildError(f"what was built is no {command[0]}: {(done.stdout + done.stderr).strip()[-500:]}")


def _ask(go: Go, *arguments: str) -> str:
    done = subprocess.run(
        [go.command, *arguments], cwd=SOURCES, env=_settings(go), check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise BuildError(f"go {arguments[0]} ended with {done.returncode}:\n{done.stderr.strip()[-1500:]}")
    return done.stdout


def _settings(go: Go) -> dict[str, str]:
    # Static, so that the result runs on every distribution; a workspace around the checkout is not ours.
    return {**go.environment, "CGO_ENABLED": "0", "GOWORK": "off"}


def _link_flags() -> str:
    """Strip debug symbols, and say the release: `kubectl version` and `/version` answer v0.0.0-master otherwise."""
    major, minor = kubernetes_version().split(".")[:2]
    said = {"gitVersion": f"v{kubernetes_version()}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={text}" for name, text in said.items())])


def _text(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")
