"""What a control plane needs to know where real nodes join it: where they reach it, and whose addresses are whose."""

from dataclasses import dataclass

from tests.cluster.pki import Authority

__all__ = ["KUBELET_CLIENT", "NodeNetwork"]

KUBELET_CLIENT = "kube-apiserver-kubelet-client"
"""The user as which the API server asks kubelets for logs and for commands to be run."""


@dataclass(frozen=True)
class NodeNetwork:
    """Addresses that the control plane, its nodes and their pods share."""

    host: str
    """Where nodes and pods reach the API server."""
    pods: str
    services: str
    first_service: str
    """What the Service kubernetes gets."""

    def api_flags(self, authority: Authority) -> list[str]:
        """What the API server is told beside, or instead of, the usual."""
        user = authority.issue(KUBELET_CLIENT)
        return [
            "--bind-address=0.0.0.0",
            f"--advertise-address={self.host}",
            "--endpoint-reconciler-type=lease",
            f"--service-cluster-ip-range={self.services}",
            "--enable-admission-plugins=NodeRestriction",
            f"--kubelet-client-certificate={user.certificate}",
            f"--kubelet-client-key={user.key}",
            f"--kubelet-certificate-authority={authority.certificate}",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def controller_flags(self) -> list[str]:
        """What the controller manager is told."""
        return [
            "--allocate-node-cidrs",
            f"--cluster-cidr={self.pods}",
            "--node-cidr-mask-size=24",
            f"--service-cluster-ip-range={self.services}",
        ]
