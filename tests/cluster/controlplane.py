"""A real control plane of its own: etcd, API server, controller manager and scheduler on free loopback ports.

Several run beside each other. No node: pods are made and stay Pending, until a test plays the kubelet, or brings a
real one (`tests/e2e`), for which the options name a network.
`control_plane()` starts one and takes it down; when its process ends in any other way, the kernel ends the
components, and the next start removes the folder.
"""

import http.client
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.access import Caller, by_certificate, tls_context, write_kubeconfig
from tests.cluster.client import KubeClient
from tests.cluster.component import Component
from tests.cluster.folder import owned_folder
from tests.cluster.nodenetwork import NodeNetwork
from tests.cluster.pki import Authority, Pair, write_key
from tests.cluster.programs import Programs
from tests.cluster.reservation import ReservedPort

__all__ = ["ControlPlane", "ControlPlaneError", "Options", "control_plane"]

PATIENCE = 120.0
FOLDER = "plumbline-cluster-"
ADDRESSES = ("127.0.0.1", "localhost", "kubernetes.default.svc", "10.97.0.1")
ADMINISTRATORS = "system:masters"


class ControlPlaneError(Exception):
    """A component that does not come up, with what it said."""


@dataclass(frozen=True)
class Options:
    """What differs from the usual control plane: further flags, which win over ours, and the audit level."""

    api: tuple[str, ...] = ()
    controllers: tuple[str, ...] = ()
    scheduler: tuple[str, ...] = ()
    audit: str = ""
    """Metadata, Request or RequestResponse; empty for no audit log."""
    nodes: NodeNetwork | None = None
    """Where real nodes join; without, the API server answers on loopback alone."""


class ControlPlane:
    """The components, the folder they live in, and the users they know."""

    def __init__(self, programs: Programs, folder: Path, options: Options) -> None:
        self.programs, self.folder, self.options = programs, folder, options
        self.authority = Authority(folder / "pki")
        self._ports = {name: ReservedPort() for name in ("api", "etcd", "peer")}
        self.port = self._ports["api"].number
        self.url = f"https://127.0.0.1:{self.port}"
        self.admin = self.authority.issue("admin", [ADMINISTRATORS])
        self.kubeconfig = self.user_kubeconfig("admin", [ADMINISTRATORS])
        self.caller = Caller(self.port, tls_context(self.authority, self.admin))
        self._service_account_key = write_key(folder / "pki/service-accounts.key")
        self.etcd = self._component("etcd", self._etcd_flags())
        self.api = self._component("kube-apiserver", self._api_flags())
        self.controllers = self._component("kube-controller-manager", self._controller_flags())
        self.scheduler = self._component("kube-scheduler", self._scheduler_flags())

    @property
    def components(self) -> tuple[Component, ...]:
        """All of them, in the order of starting."""
        return self.etcd, self.api, self.controllers, self.scheduler

    @property
    def audit_log(self) -> Path:
        """Where the API server writes one line per finished request, if the options ask for it."""
        return self.folder / "audit.jsonl"

    def audit_events(self) -> list[dict[str, Any]]:
        """Every request finished so far."""
        return [json.loads(line) for line in self.audit_log.read_text(encoding="utf-8").splitlines()]

    def start(self) -> None:
        """Bring everything up and wait until it works.

        Raises:
            ControlPlaneError: It did not come up.
        """
        self.etcd.start()
        self.api.start()
        self.wait_ready()
        self.controllers.start()
        self.scheduler.start()
        self._wait(self._has_default_account, "the controllers make the first ServiceAccount")

    def wait_ready(self) -> None:
        """Wait until the API server calls itself ready; after a restart too, and from any thread.

        Raises:
            ControlPlaneError: It ended, or did not come up in time.
        """
        self._wait(lambda: self.caller.call("GET", "/readyz")[0] == http.client.OK, "the API server is ready")

    def stop(self) -> None:
        """End every component at once; none has anything to save."""
        for component in reversed(self.components):
            component.kill()
        for port in self._ports.values():
            port.release()

    def user_kubeconfig(self, user: str, groups: Sequence[str] = (), namespace: str = "default") -> Path:
        """A kubeconfig of a user who exists by having a certificate; what it may do is RBAC's matter."""
        return self._kubeconfig(by_certificate(self.authority.issue(user, groups)), namespace)

    def node_kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig of such a user for a program that runs on a node."""
        if self.options.nodes is None:
            raise ValueError("this control plane has no nodes")
        url = f"https://{self.options.nodes.host}:{self.port}"
        return self._kubeconfig(by_certificate(self.authority.issue(user, groups)), "default", url)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig of a ServiceAccount, with a token for an hour."""
        return self._kubeconfig({"token": self.service_account_token(namespace, name)}, namespace)

    def service_account_token(
        self, namespace: str, name: str, audiences: Sequence[str] = (), seconds: int = 3600
    ) -> str:
        """A token as a pod would get it; no audience means the API server itself.

        Raises:
            ControlPlaneError: The API server refused, with its words.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        wanted = {"audiences": list(audiences), "expirationSeconds": seconds}
        status, answer = self.caller.call("POST", path, {"kind": "TokenRequest", "spec": wanted})
        if status != http.client.CREATED:
            raise ControlPlaneError(f"no token for {namespace}/{name}: {answer.decode(errors='replace')}")
        return str(json.loads(answer)["status"]["token"])

    def client(self, user: Pair | None = None, token: str = "") -> AbstractAsyncContextManager[KubeClient]:
        """An asynchronous client of a certificate's user, of a token's, or of the administrator."""
        shown = user or (None if token else self.admin)
        return KubeClient.connect(self.url, tls_context(self.authority, shown), token)

    def describe(self) -> str:
        """What each component is doing and what it complained of, for the message of a failed test."""
        return "\n".join(f"{part.name} ({_state(part)}):\n{part.complaints()}" for part in self.components)

    def _kubeconfig(self, user: dict[str, Any], namespace: str, url: str = "") -> Path:
        handle, path = tempfile.mkstemp(".kubeconfig", dir=self.folder)
        os.close(handle)
        return write_kubeconfig(Path(path), url or self.url, self.authority, user, namespace)

    def _component(self, name: str, flags: Sequence[str]) -> Component:
        return Component(self.programs.components / name, flags, self.folder / f"{name}.log")

    def _etcd_flags(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{self._ports[name].number}" for name in ("etcd", "peer"))
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--socket-reuse-port",
            "--unsafe-no-fsync",
        ]

    def _api_flags(self) -> list[str]:
        nodes = self.options.nodes
        addresses = (*ADDRESSES, nodes.host, nodes.first_service) if nodes else ADDRESSES
        serving = self.authority.issue("kube-apiserver", addresses=addresses)
        return [
            f"--etcd-servers=http://127.0.0.1:{self._ports['etcd'].number}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--permit-port-sharing",
            # There is nobody to whom the Service kubernetes would lead.
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.authority.certificate}",
            f"--service-account-key-file={self._service_account_key}",
            f"--service-account-signing-key-file={self._service_account_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.97.0.0/16",
            f"--authorization-mode={'Node,RBAC' if nodes else 'RBAC'}",
            # Pod security decides who is privileged, as it does in a cluster.
            "--allow-privileged",
            # An orderly end waits a minute for open watches otherwise.
            "--shutdown-watch-termination-grace-period=1s",
            *(nodes.api_flags(self.authority) if nodes else ()),
            *(self._audit_flags() if self.options.audit else ()),
            *self.options.api,
        ]

    def _audit_flags(self) -> list[str]:
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [{"level": self.options.audit}],
        }
        path = self.folder / "audit-policy.json"
        path.write_text(json.dumps(policy), encoding="utf-8")
        self.audit_log.touch()
        return [f"--audit-policy-file={path}", f"--audit-log-path={self.audit_log}"]

    def _controller_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.user_kubeconfig('system:kube-controller-manager')}",
            f"--service-account-private-key-file={self._service_account_key}",
            f"--root-ca-file={self.authority.certificate}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
            # The usual 20 calls a second are for clusters with many clients, not for tests that wait.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            # A claim whose volume is seen a moment later waits for the next turn otherwise.
            "--pvclaimbinder-sync-period=1s",
            *(self.options.nodes.controller_flags() if self.options.nodes else ()),
            *self.options.controllers,
        ]

    def _scheduler_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.user_kubeconfig('system:kube-scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
            *self.options.scheduler,
        ]

    def _has_default_account(self) -> bool:
        return self.caller.call("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == http.client.OK

    def _wait(self, holds: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self._holds(holds):
            ended = [part for part in self.components if part.ended is not None]
            if ended or time.monotonic() > end:
                why = " and ".join(f"{part.name} ended with {part.ended}" for part in ended) or f"{PATIENCE:.0f} s"
                raise ControlPlaneError(f"waited until {what}, but {why}\n{self.describe()}")
            time.sleep(0.05)

    @staticmethod
    def _holds(look: Callable[[], object]) -> bool:
        try:
            return bool(look())
        except (OSError, http.client.HTTPException):
            return False


@contextmanager
def control_plane(programs: Programs, options: Options | None = None) -> Iterator[ControlPlane]:
    """A control plane, up and working; afterwards its processes and its folder are gone.

    Raises:
        ControlPlaneError: It did not come up.
    """
    with owned_folder(FOLDER) as folder:
        plane = ControlPlane(programs, folder, options or Options())
        try:
            plane.start()
            yield plane
        finally:
            plane.stop()


def _state(part: Component) -> str:
    if part.running:
        return f"process {part.pid}"
    return "not started" if part.ended is None else f"ended with {part.ended}"
