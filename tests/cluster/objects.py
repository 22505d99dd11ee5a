"""Small Kubernetes objects for the tests of this folder."""

from typing import Any

from tests.cluster.client import Object

__all__ = ["config_map", "job", "pod", "pod_spec"]


def config_map(name: str, **data: str) -> Object:
    """A ConfigMap, complete enough for kubectl and Helm."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod_spec(**container: Any) -> Object:
    """One container of an image that nobody pulls."""
    return {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.invalid/none", **container}]}


def pod(name: str, **container: Any) -> Object:
    """A pod of its own."""
    return {"metadata": {"name": name}, "spec": pod_spec(**container)}


def job(name: str) -> Object:
    """A Job of one pod."""
    return {"metadata": {"name": name}, "spec": {"template": {"spec": pod_spec()}}}
