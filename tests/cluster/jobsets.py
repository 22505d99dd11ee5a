"""JobSet's own controller beside a control plane: its CustomResourceDefinition, its webhooks, its process."""

import base64
import http.client
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.cluster.build.jobset import CONTROLLER, CRD, WEBHOOKS
from tests.cluster.client import CRDS, KubeClient, Object, Resource, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.folder import owned_folder
from tests.cluster.reservation import ReservedPort

__all__ = ["CONTROLLER_USER", "JOB_SETS", "controller_process", "install_job_sets", "remove_job_sets", "removed"]

JOB_SETS = Resource("jobset.x-k8s.io", "v1alpha2", "jobsets")
CONTROLLER_USER = "system:serviceaccount:jobset-system:jobset-controller-manager"
"""As its own manifests call it."""
_NAME = "jobsets.jobset.x-k8s.io"
_HOOK_NAMES = {
    "MutatingWebhookConfiguration": "jobset-mutating",
    "ValidatingWebhookConfiguration": "jobset-validating",
}
_HOOKS = {
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}


def _hooks(kind: str) -> Resource:
    return Resource("admissionregistration.k8s.io", "v1", _HOOKS[kind], namespaced=False)


@contextmanager
def controller_process(plane: ControlPlane) -> Iterator[int]:
    """The controller, on the port of its webhooks; killed at the end, and by the kernel with this process."""
    with owned_folder("plumbline-jobset-") as folder:
        port = ReservedPort()
        number = port.number
        pair = plane.authority.issue("jobset-webhooks", addresses=("127.0.0.1",))
        shutil.copyfile(pair.certificate, folder / "tls.crt")
        shutil.copyfile(pair.key, folder / "tls.key")
        kubeconfig = plane.user_kubeconfig(CONTROLLER_USER, ["system:masters"])
        # It sets no SO_REUSEPORT, so the port has to be given back before.
        port.release()
        command = ["setpriv", "--pdeathsig", "KILL", str(plane.programs.jobset / CONTROLLER)]
        command += ["--config", str(_configuration(folder, number)), "--kubeconfig", str(kubeconfig)]
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield number
        except BaseException:
            print(log.read_text(errors="replace")[-4000:])  # noqa: T201 - shown with the failed test
            raise
        finally:
            process.kill()
            process.wait()


def _configuration(folder: Path, port: int) -> Path:
    settings = {
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "webhook": {"host": "127.0.0.1", "port": port, "certDir": str(folder)},
        "internalCertManagement": {"enable": False},
        "leaderElection": {"leaderElect": False},
        "health": {"healthProbeBindAddress": "0"},
        "metrics": {"bindAddress": "0"},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


async def install_job_sets(kube: KubeClient, plane: ControlPlane, port: int) -> None:
    """Let the API server serve JobSets, and ask the controller's webhooks about them; nothing where it does."""
    if await kube.find(CRDS, _NAME) is not None:
        return
    await kube.establish(yaml.safe_load((plane.programs.jobset / CRD).read_text(encoding="utf-8")))
    for hooks in _hooks_of(plane, port):
        await kube.apply(_hooks(hooks["kind"]), hooks, force=True)
    body = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "probe"}}
    probe = {**body, "spec": {"replicatedJobs": []}}

    async def answers() -> bool:
        status, _ = plane.caller.call("POST", f"{JOB_SETS.path('default')}?dryRun=All", probe)
        return status == http.client.CREATED

    await eventually(answers, 60.0)


def remove_job_sets(plane: ControlPlane) -> None:
    """Let the API server serve them no more; it removes every one before."""
    for kind, name in _HOOK_NAMES.items():
        plane.caller.call("DELETE", _hooks(kind).path(None, name))
    plane.caller.call("DELETE", CRDS.path(None, _NAME))


async def removed(kube: KubeClient) -> bool:
    """Whether that is done."""
    return await kube.find(CRDS, _NAME) is None


def _hooks_of(plane: ControlPlane, port: int) -> Iterator[Object]:
    """The module's webhooks for JobSets, led to this machine; what those for pods do, nobody asks for."""
    authority = base64.b64encode(plane.authority.certificate.read_bytes()).decode()
    for given in yaml.safe_load_all((plane.programs.jobset / WEBHOOKS).read_text(encoding="utf-8")):
        chosen = [hook for hook in given["webhooks"] if hook["rules"][0]["resources"] == ["jobsets"]]
        for hook in chosen:
            path = hook["clientConfig"]["service"]["path"]
            hook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": authority}
        yield {**given, "metadata": {"name": _HOOK_NAMES[given["kind"]]}, "webhooks": chosen}
