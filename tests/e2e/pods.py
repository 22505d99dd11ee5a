"""Pods and Jobs of the test image that pass the restricted Pod Security Standard."""

from typing import Any

from tests.cluster.client import Object

__all__ = ["PULL_SECRET", "probe_job", "probe_pod"]

PULL_SECRET = "site-registry"
"""In every namespace of the tests."""


def probe_pod(name: str, image: str, *words: str, secret: str = PULL_SECRET, **spec: Any) -> Object:
    """A pod that runs one command of the test image; `spec` adds to that of the pod, or to `container`'s."""
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": _spec(image, words, secret, spec)}


def probe_job(name: str, image: str, *words: str, secret: str = PULL_SECRET, **spec: Any) -> Object:
    """A Job of one such pod, which is not tried again."""
    template = {"spec": _spec(image, words, secret, spec)}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}}


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
