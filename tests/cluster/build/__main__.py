"""Builds what is missing; called by `make test` and `make test-cluster`, and a moment's work when nothing is."""

import os
import sys

from plumbline_api.names import ExitCode
from tests.cluster.build.cache import cache_root, make_all, say
from tests.cluster.build.clients import unpack_clients
from tests.cluster.build.jobset import build_jobset
from tests.cluster.build.kubernetes import build_kubernetes
from tests.cluster.programs import unsupported


def main() -> int:
    """Make everything, as quietly to the machine's other work as the kernel allows."""
    if reason := unsupported():
        say(f"nothing is built: {reason}")
        return ExitCode.OK
    os.nice(19)
    return make_all(_make)


def _make() -> None:
    root = cache_root(os.environ)
    unpack_clients(root)
    build_kubernetes(root, os.environ)
    build_jobset(root, os.environ)


if __name__ == "__main__":
    sys.exit(main())
