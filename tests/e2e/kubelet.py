"""The kubelet and the Service proxy of the node, each with a user and a configuration of its own."""

from pathlib import Path
from typing import Any

import yaml

from tests.cluster.component import Component
from tests.cluster.controlplane import ControlPlane
from tests.e2e.machine import Machine
from tests.e2e.runtime import SOCKET

__all__ = ["NODE", "kubelet", "service_proxy"]

NODE = "node"
"""The name of the node."""
DOMAIN = "cluster.local"


def kubelet(machine: Machine, plane: ControlPlane) -> Component:
    """Not started yet; the control plane has to run before."""
    user = f"system:node:{NODE}"
    serving = plane.authority.issue(user, ["system:nodes"], [machine.addresses.node, NODE])
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "healthzPort": 0,
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plane.authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{machine.cgroup}",
        # This machine may have the first version of cgroups, and swap.
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "clusterDomain": DOMAIN,
        "clusterDNS": [machine.addresses.names],
        "serializeImagePulls": False,
        # A disk that others fill is no reason to end the tests' pods.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%", "memory.available": "100Mi"},
        # The usual limits are for hundreds of nodes; one must say at once what changes.
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "eventRecordQPS": 0,
        "nodeStatusUpdateFrequency": "4s",
    }
    flags = [
        f"--config={_write(machine.folder / 'kubelet.yaml', configuration)}",
        f"--kubeconfig={plane.node_kubeconfig(user, ['system:nodes'])}",
        f"--hostname-override={NODE}",
        f"--node-ip={machine.addresses.node}",
        f"--root-dir={machine.folder / 'kubelet'}",
        f"--cert-dir={machine.folder / 'kubelet-pki'}",
    ]
    return machine.component(plane.programs.components / "kubelet", flags)


def service_proxy(machine: Machine, plane: ControlPlane) -> Component:
    """Not started yet."""
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(plane.node_kubeconfig("system:kube-proxy"))},
        "hostnameOverride": NODE,
        "clusterCIDR": machine.addresses.pods,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # These belong to the kernel, not to the node.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    flags = [f"--config={_write(machine.folder / 'kube-proxy.yaml', configuration)}"]
    return machine.component(plane.programs.components / "kube-proxy", flags)


def _write(path: Path, configuration: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    return path
