"""Where everything lies that `make e2e` made for the test node."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.build.cache import cache_root
from tests.cluster.programs import Programs, find_programs
from tests.e2e.build.coredns import coredns_folder
from tests.e2e.build.packages import missing_packages
from tests.e2e.build.probe import probe_folder

__all__ = ["NodePrograms", "find_node_programs"]


@dataclass(frozen=True)
class NodePrograms:
    """What was compiled; what came as a package lies on the PATH."""

    cluster: Programs
    coredns: Path
    images: Path
    """OCI layouts: what pods run in tests, and what holds their namespaces."""


def find_node_programs() -> NodePrograms:
    """The programs of this checkout.

    Raises:
        FileNotFoundError: They are not there.
    """
    root = cache_root(os.environ)
    found = NodePrograms(find_programs(), coredns_folder(root), probe_folder(root))
    missing = [str(folder) for folder in (found.coredns, found.images) if not folder.is_dir()]
    if missing := [*missing, *missing_packages()]:
        raise FileNotFoundError(f"not there: {', '.join(missing)}; run: make e2e")
    return found
