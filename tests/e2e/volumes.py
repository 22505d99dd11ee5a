"""Volumes of the node for claims that no storage class would serve."""

from pathlib import Path

from tests.cluster.client import Object
from tests.e2e.kubelet import NODE

__all__ = ["local_volume"]

HOSTNAME = "kubernetes.io/hostname"
ACCESS = ("ReadWriteOnce", "ReadWriteMany")


def local_volume(folder: Path, namespace: str, claim: str, size: str) -> Object:
    """A folder of this machine as a PersistentVolume that one claim gets and no other; the folder is made.

    The claim has to name the storage class "", or none where the cluster has no default.
    """
    folder.mkdir(parents=True)
    # Whoever has the claim may write; the node gives the folder to the pod's fsGroup where it names one.
    folder.chmod(0o777)
    here = {"key": HOSTNAME, "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{claim}"},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": list(ACCESS),
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": claim},
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
