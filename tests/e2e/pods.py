"""Pods and Jobs of the test image that pass the restricted Pod Security Standard."""

from collections.abc import Callable
from typing import Any

from tests.cluster.client import PODS, KubeClient, Object
from tests.cluster.pods import RESTRICTED

__all__ = [
    "PULL_SECRET", "ended_pod", "probe_job", "probe_pod", "restricted_namespace", "running_pod", "waiting_pod",
    "within",
]  # fmt: skip

PULL_SECRET = "site-registry"
"""In every namespace of the tests."""


def restricted_namespace(name: str) -> Object:
    """A namespace that enforces the restricted standard."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}


def within(namespace: str, thing: Object) -> Object:
    """An object with its namespace, as `RealCluster.apply` wants it; a pod where it names no kind."""
    kind = {"apiVersion": "v1", "kind": "Pod"}
    return {**kind, **thing, "metadata": {**thing["metadata"], "namespace": namespace}}


def probe_pod(name: str, image: str, *words: str, secret: str = PULL_SECRET, **spec: Any) -> Object:
    """A pod that runs one command of the test image; `spec` adds to that of the pod, or to `container`'s."""
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": _spec(image, words, secret, spec)}


def probe_job(name: str, image: str, *words: str, secret: str = PULL_SECRET, **spec: Any) -> Object:
    """A Job of one such pod, which is not tried again."""
    template = {"spec": _spec(image, words, secret, spec)}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}}


async def ended_pod(kube: KubeClient, namespace: str, pod: Object) -> Object:
    """Make a pod; what it is when it has ended."""
    return await _made(kube, namespace, pod, lambda made: made["status"].get("phase") in ("Succeeded", "Failed"))


async def running_pod(kube: KubeClient, namespace: str, pod: Object) -> Object:
    """Make a pod; what it is when it is ready."""
    return await _made(kube, namespace, pod, lambda made: "True" == _condition(made, "Ready").get("status"))


async def waiting_pod(kube: KubeClient, namespace: str, pod: Object, *reasons: str) -> Object:
    """Make a pod; the state in which its container waits, once it is for one of these reasons."""

    def waits(made: Object) -> bool:
        return bool(_waiting(made)) and _waiting(made)["reason"] in reasons

    return _waiting(await _made(kube, namespace, pod, waits))


async def _made(kube: KubeClient, namespace: str, pod: Object, holds: Callable[[Object], bool]) -> Object:
    await kube.create(PODS, pod, namespace)
    return await kube.until(PODS, pod["metadata"]["name"], namespace, holds)


def _condition(pod: Object, kind: str) -> Object:
    return next((one for one in pod["status"].get("conditions", ()) if one["type"] == kind), {})


def _waiting(pod: Object) -> Object:
    (container, *_) = pod["status"].get("containerStatuses") or [{"state": {}}]
    found: Object = container["state"].get("waiting", {})
    return found


def _spec(image: str, words: tuple[str, ...], secret: str, more: dict[str, Any]) -> Object:
    container = {
        "name": "main",
        "image": image,
        "args": list(words),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **more.pop("container", {}),
    }
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "imagePullSecrets": [{"name": secret}] if secret else [],
        "containers": [container],
        **more,
    }
