"""Argo CD's components as processes beside a control plane, with the settings that its own installation has.

Everything listens on free ports of 127.0.0.1, but for the controller's metrics: these listen at every address, and no
flag of it changes that. The components act as the cluster's administrator, as their own manifests let them.
"""

import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.commands import run_kubectl
from tests.cluster.controlplane import ADMINISTRATORS, ControlPlane
from tests.cluster.folder import owned_folder
from tests.cluster.reservation import ReservedPort
from tests.e2e.build.argocd import CRDS, SETTINGS

__all__ = ["NAMESPACE", "ArgoCD", "lacking", "running_argocd"]

NAMESPACE: Final = "argocd"
PATIENCE: Final = 120.0
_PORTS: Final = ("redis", "repository", "repository-metrics", "metrics", "server", "server-metrics")
_PART: Final = {"app.kubernetes.io/part-of": "argocd"}


def lacking() -> str:
    """What Argo CD needs of this machine and does not find; empty where all is there."""
    missing = [name for name in ("git", "redis-server", "setpriv") if shutil.which(name) is None]
    return f"{', '.join(missing)} not installed; run: make e2e" if missing else ""


class ArgoCD:
    """The components, and what they tell."""

    def __init__(self, plane: ControlPlane, programs: Path, folder: Path) -> None:
        self.plane, self.programs, self.folder = plane, programs, folder
        self._ports = _free_ports()
        self._kubeconfig = plane.user_kubeconfig("argocd", [ADMINISTRATORS], NAMESPACE)
        self._logs: dict[str, Path] = {}

    def install(self) -> None:
        """CRDs, settings as the project ships them, and a project for everything."""
        defaults = yaml.safe_load((self.programs / SETTINGS).read_text(encoding="utf-8"))["data"]
        project = {"sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}]}
        whitelist = {"clusterResourceWhitelist": [{"group": "*", "kind": "*"}]}
        files = sorted((self.programs / CRDS).glob("*-crd.yaml"))
        crds = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]
        self.apply(*crds, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self.apply(
            _object("ConfigMap", "argocd-cm", data=defaults),
            _object("ConfigMap", "argocd-rbac-cm"),
            _object("Secret", "argocd-secret", stringData={"server.secretkey": secrets.token_urlsafe(32)}),
        )
        # kubectl learns of kinds from another document than the one by which they can be called.
        _until(lambda: "appprojects" in self._kinds(), lambda: "no AppProjects are served")
        body = _object("AppProject", "default", api="argoproj.io/v1alpha1", spec=project | whitelist)
        self.apply(body)

    def _kinds(self) -> str:
        words = ("api-resources", "--api-group=argoproj.io", "--output=name", "--cached=false")
        return run_kubectl(self.plane, *words).stdout

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """`kubectl apply --server-side` as the administrator."""
        text = yaml.safe_dump_all(objects)
        run_kubectl(self.plane, "apply", "--server-side", "--force-conflicts", "-f", "-", text=text)

    @contextmanager
    def running(self) -> Iterator[None]:
        """All components at work; afterwards they are gone."""
        ports = self._ports
        shared = ["--redis", f"127.0.0.1:{ports['redis']}"]
        led = [*shared, "--repo-server", f"127.0.0.1:{ports['repository']}", "--repo-server-plaintext"]
        known = ["--kubeconfig", str(self._kubeconfig)]
        # Whether a CRD is established, Argo CD learns only when it looks again by itself: every two minutes otherwise.
        often = ["--app-resync", "10", "--app-resync-jitter", "0"]
        redis = ["--port", ports["redis"], "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        repository = ["--disable-tls", "--address", "127.0.0.1", "--port", ports["repository"]]
        repository += ["--metrics-address", "127.0.0.1", "--metrics-port", ports["repository-metrics"]]
        server = ["--insecure", "--disable-auth", "--address", "127.0.0.1", "--port", ports["server"]]
        server += ["--metrics-address", "127.0.0.1", "--metrics-port", ports["server-metrics"]]
        with ExitStack() as stack:
            for name, words in (
                ("redis-server", redis),
                ("argocd-repo-server", [*shared, *repository]),
                ("argocd-application-controller", [*led, *known, *often, "--metrics-port", ports["metrics"]]),
                ("argocd-server", [*led, *known, *server]),
            ):
                stack.enter_context(self._process(name, words))
            for port in ("repository-metrics", "metrics", "server"):
                self._wait(port)
            yield

    def cli(self, *words: str) -> str:
        """What the command `argocd` prints.

        Raises:
            AssertionError: It did not succeed.
        """
        command = [
            str(self.programs / "argocd"),
            *words,
            "--server",
            f"127.0.0.1:{self._ports['server']}",
            "--plaintext",
        ]
        done = subprocess.run(
            command, env=self._environment(), timeout=PATIENCE, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, (
            f"argocd {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def refreshes(self, application: str) -> list[int]:
        """The levels of reconciliations that a changed object caused: 0 draws the tree anew, 1 and more compare."""
        lines = self._logs["argocd-application-controller"].read_text(encoding="utf-8").splitlines()
        told = (json.loads(line) for line in lines if line.startswith("{") and "controller refresh requested" in line)
        return [int(line["msg"][-2]) for line in told if line.get("application") == application]

    def describe(self) -> str:
        """The end of each log."""
        return "\n".join(f"{name}:\n{_tail(log)}" for name, log in self._logs.items())

    @contextmanager
    def _process(self, name: str, words: list[str]) -> Iterator[None]:
        program = _found(name) if name == "redis-server" else str(self.programs / name)
        log = self._logs[name] = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [_found("setpriv"), "--pdeathsig", "KILL", program, *words],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def _environment(self) -> dict[str, str]:
        """What the images of Argo CD set, with folders of ours; Helm is the build's own."""
        places = {name: self.folder / name for name in ("tls", "ssh", "plugins", "home", "tmp", "bin")}
        for place in places.values():
            place.mkdir(exist_ok=True)
        helm = places["bin"] / "helm"
        if not helm.exists():
            helm.symlink_to(self.plane.programs.helm(3))
        kept = {
            name: text for name, text in os.environ.items() if not name.startswith(("ARGOCD_", "HELM_", "KUBE", "GIT_"))
        }
        return kept | {
            "PATH": f"{places['bin']}:{self.programs}:{os.environ['PATH']}",
            "HOME": str(places["home"]),
            "TMPDIR": str(places["tmp"]),
            "KUBECONFIG": str(self._kubeconfig),
            # The control plane has no address inside the cluster; Applications may name the usual one all the same.
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_TLS_DATA_PATH": str(places["tls"]),
            "ARGOCD_SSH_DATA_PATH": str(places["ssh"]),
            "ARGOCD_PLUGINSOCKFILEPATH": str(places["plugins"]),
            "ARGOCD_ASK_PASS_SOCK": str(self.folder / "ask-pass.sock"),
        }

    def _url(self, port: str, path: str) -> str:
        return f"http://127.0.0.1:{self._ports[port]}{path}"

    def _wait(self, port: str) -> None:
        def answers() -> bool:
            try:
                with urllib.request.urlopen(self._url(port, "/healthz"), timeout=5):  # noqa: S310 - loopback
                    return True
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False

        _until(answers, lambda: f"{port} does not answer\n{self.describe()}")


@contextmanager
def running_argocd(plane: ControlPlane, programs: Path) -> Iterator[ArgoCD]:
    """Argo CD at work on a control plane; afterwards its processes and its folder are gone."""
    with owned_folder("plumbline-argocd-") as folder:
        argocd = ArgoCD(plane, programs, folder)
        argocd.install()
        with argocd.running():
            yield argocd


def _found(name: str) -> str:
    return shutil.which(name) or name


def _free_ports() -> dict[str, str]:
    held = {name: ReservedPort() for name in _PORTS}
    numbers = {name: str(port.number) for name, port in held.items()}
    # None of the programs sets SO_REUSEPORT, so the ports have to be given back before.
    for port in held.values():
        port.release()
    return numbers


def _object(kind: str, name: str, *, api: str = "v1", **parts: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": _PART | {"app.kubernetes.io/name": name}}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **parts}


def _until(holds: Callable[[], bool], complaint: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, complaint()
        time.sleep(0.1)


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-3000:]
