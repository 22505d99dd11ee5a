"""The operator against a real control plane: within the test, or as a process that can be killed. And a kubelet's part.

No node runs here, so pods that the controllers make stay Pending until a test says what became of them.
"""

import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

import kopf
import yaml

from plumbline_api.configmap import ConfigMap
from plumbline_api.crd import filename_of
from plumbline_api.model import Document, canonical_json
from plumbline_api.names import CONTAINER_WORKER, GROUP, INPUTS_CONFIG_MAP, INPUTS_KEY, PLURALS, Kind
from plumbline_api.report import Summary
from plumbline_operator.kube.api.client import KubeClient as KubeApi
from plumbline_operator.kube.api.login import Login
from plumbline_operator.kube.assembly import Operator
from plumbline_operator.kube.settings import KubeSettings
from plumbline_operator.observed import PlumblineObject
from tests.cluster.client import CONFIG_MAPS, CRDS, JOBS, PODS, KubeClient, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.pki import Pair
from tests.support import build
from tests.support.checkout import ROOT

__all__ = [
    "Process", "apply", "apply_inputs", "children", "condition_of", "connect", "finish_job", "jobs_of", "mark_pod",
    "operator_process", "pods_file", "running_operator", "serve_kinds", "status_where",
]  # fmt: skip

_NODE: Final = "batch.kubernetes.io/job-completion-index"
PATIENCE: Final = 60.0
START: Final = 150.0
"""Seconds that a process gets to come up beside whatever else this machine does."""


def connect(plane: ControlPlane, user: Pair | None = None) -> Login:
    """The credentials of a user, by default of the administrator, as the operator finds its own."""
    shown = user or plane.admin

    def find() -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(
            server=plane.url,
            ca_path=str(plane.authority.certificate),
            certificate_path=str(shown.certificate),
            private_key_path=str(shown.key),
        )

    return Login(time.monotonic, find)


@asynccontextmanager
async def running_operator(
    login: Login,
    namespace: str,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    **changes: Any,
) -> AsyncIterator[Operator]:
    """An operator of one namespace, within this test, at work."""
    given: dict[str, Any] = {"namespaces": (namespace,), "host": "127.0.0.1", "port": 0, "workers": 16, "poll": 1.0}
    settings = KubeSettings(**{"runtime": build.RUNTIME} | given | changes)
    operator = Operator(settings, connect=lambda count: KubeApi(login, count=count), now=now)
    try:
        await operator.start()

        async def is_working() -> bool:
            return bool(operator.health().facts["working"])

        await eventually(is_working, PATIENCE)
        yield operator
        assert not operator.failed.is_set(), "a part of the operator has ended"
    finally:
        await operator.stop()


# As a process


@dataclass
class Process:
    """`plumbline operator`, started by a test."""

    popen: Popen[bytes]
    log: Path

    def lines(self, message: str = "") -> list[dict[str, Any]]:
        """What it logged, or what of it has that message."""
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and line.endswith("}"):
                found.append(json.loads(line))
        return [line for line in found if message in ("", line["message"])]

    async def until_logged(self, message: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The first line with that message, once there is one."""

        async def look() -> list[dict[str, Any]]:
            assert self.popen.poll() is None or self.lines(message), self.log.read_text()[-3000:]
            return self.lines(message)

        return (await eventually(look, seconds))[0]

    async def until_at_work(self, seconds: float = START) -> None:
        """Return once it works on objects."""
        await self.until_logged("at work", seconds)

    async def ended(self, seconds: float = PATIENCE) -> int:
        """Its exit code, once it has ended."""

        async def look() -> list[int]:
            code = self.popen.poll()
            return [] if code is None else [code]

        return (await eventually(look, seconds))[0]

    def kill(self) -> None:
        """End it as a crash does."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()


def pods_file(folder: Path) -> Path:
    """The settings about pods, as the chart gives them."""
    path = folder / "pods.json"
    images = {image.value: reference for image, reference in build.RUNTIME.images.items()}
    path.write_text(json.dumps({"images": images, "store": build.STORE}))
    return path


@contextmanager
def operator_process(
    kubeconfig: Path,
    folder: Path,
    *arguments: str,
    name: str = "operator",
    command: tuple[str, ...] = ("-m", "plumbline_operator", "operator"),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """An operator as its own process, killed at the end if it still runs."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PLUMBLINE_", "KUBE"))}
    log = folder / f"{name}-{time.monotonic_ns()}.log"
    given = {"KUBECONFIG": str(kubeconfig), "PLUMBLINE_PODS": str(pods_file(folder)), "PLUMBLINE_HOST": "127.0.0.1"}
    with log.open("wb") as output:
        popen = Popen(
            [sys.executable, *command, *arguments],
            env={**kept, **given, "PLUMBLINE_PORT": "0", **(environment or {})},
            stdout=output,
            stderr=output,
        )
    try:
        yield Process(popen, log)
    finally:
        popen.kill()
        popen.wait()


# Objects


async def serve_kinds(kube: KubeClient) -> None:
    """Let the API server serve our kinds, as the committed files declare them."""
    for kind in Kind:
        if await kube.find(CRDS, f"{PLURALS[kind]}.{GROUP}") is not None:
            continue
        await kube.establish(yaml.safe_load((ROOT / "crds" / filename_of(kind)).read_text(encoding="utf-8")))


async def apply(kube: KubeClient, namespace: str, *things: PlumblineObject | ConfigMap) -> list[Object]:
    """Apply objects in a namespace."""
    made = []
    for thing in things:
        resource = CONFIG_MAPS if isinstance(thing, ConfigMap) else KINDS[Kind(thing.kind)]
        made.append(await kube.apply(resource, _in(thing, namespace), namespace))
    return made


def _in(thing: Document, namespace: str) -> Object:
    body = thing.dump()
    return {**body, "metadata": {**body["metadata"], "namespace": namespace}}


async def apply_inputs(kube: KubeClient, namespace: str, *paths: str) -> None:
    """Publish files: by default the model and the data set that builders name."""
    lines = [f"{path}: {build.digest(path)}" for path in paths or ("init", "data.jsonl")]
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": INPUTS_CONFIG_MAP}}
    await kube.apply(CONFIG_MAPS, {**body, "data": {INPUTS_KEY: "\n".join(lines)}}, namespace, force=True)


async def status_where(
    kube: KubeClient, namespace: str, kind: Kind, name: str, seconds: float = PATIENCE, **facts: object
) -> Object:
    """The object, once its status has these fields."""

    def holds(thing: Object) -> bool:
        status = thing.get("status") or {}
        return all(status.get(field) == value for field, value in facts.items())

    return await kube.until(KINDS[kind], name, namespace, holds, seconds)


def condition_of(thing: Object, kind: str) -> Object:
    """A condition of an object; an empty one where it has none."""
    conditions = (thing.get("status") or {}).get("conditions") or ()
    found: Object = next((one for one in conditions if one["type"] == kind), {})
    return found


async def jobs_of(kube: KubeClient, namespace: str, count: int = 1) -> list[Object]:
    """The Jobs of a namespace, once there are so many."""

    async def look() -> list[Object]:
        jobs = await kube.items(JOBS, namespace)
        return jobs if len(jobs) >= count else []

    return await eventually(look, PATIENCE)


async def children(kube: KubeClient, namespace: str) -> dict[str, list[str]]:
    """Names of what the operator made, by plural."""
    ours = "app.kubernetes.io/managed-by=plumbline"
    return {
        resource.plural: sorted(one["metadata"]["name"] for one in await kube.items(resource, namespace, ours))
        for resource in (JOBS, CONFIG_MAPS, PODS)
    }


# A kubelet's part


async def finish_job(
    kube: KubeClient, namespace: str, name: str, summary: Summary, *, code: int = 0, index: int | None = None
) -> None:
    """Let the pod of a Job, or of one of its nodes, do its work and leave a summary."""
    chosen = f"job-name={name}" if index is None else f"job-name={name},{_NODE}={index}"

    async def look() -> list[Object]:
        return [pod for pod in await kube.items(PODS, namespace, chosen) if not _over(pod)]

    pod = (await eventually(look, PATIENCE))[0]
    await mark_pod(kube, pod, running={"startedAt": "2026-01-31T12:00:00Z"})
    ended = {"exitCode": code, "message": canonical_json(summary).decode(), "finishedAt": "2026-01-31T12:01:00Z"}
    await mark_pod(kube, pod, terminated=ended)


async def mark_pod(kube: KubeClient, pod: Object, **state: Object) -> None:
    """Let the worker of a pod be in a state."""
    spec = pod["spec"]["containers"][0]
    ended = state.get("terminated")
    phase = "Running" if ended is None else "Succeeded" if ended["exitCode"] == 0 else "Failed"
    container = {
        "name": CONTAINER_WORKER,
        "image": spec["image"],
        "imageID": "",
        "ready": ended is None,
        "restartCount": 0,
        "state": state,
    }
    status = {"phase": phase, "containerStatuses": [container]}
    metadata = pod["metadata"]
    await kube.merge(PODS, metadata["name"], {"status": status}, metadata["namespace"], "status")


def _over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
