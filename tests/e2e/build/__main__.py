"""Makes what is missing for `make e2e`, or for its part of a node alone; a moment's work when nothing is."""

import argparse
import os
import sys
from functools import partial

from plumbline_api.names import ExitCode
from tests.cluster.build.__main__ import main as build_control_plane
from tests.cluster.build.cache import cache_root, make_all, say
from tests.e2e.build.argocd import build_argocd
from tests.e2e.build.coredns import build_coredns
from tests.e2e.build.images import build_images
from tests.e2e.build.packages import install_packages
from tests.e2e.build.probe import build_probe
from tests.e2e.machine import unsupported


def main() -> int:
    """Install, then compile."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.build", description=__doc__)
    parser.add_argument("--node-alone", action="store_true", help="neither images nor Argo CD")
    alone = parser.parse_args().node_alone
    if reason := unsupported():
        say(f"nothing is made for the test node: {reason}")
        return ExitCode.OK
    return make_all(partial(_make, alone=alone))


def _make(*, alone: bool) -> int | None:
    root = cache_root(os.environ)
    install_packages()
    if code := build_control_plane():
        return code
    build_coredns(root, os.environ)
    build_probe(root, os.environ)
    if not alone:
        build_argocd(root, os.environ)
        build_images()
    return None


if __name__ == "__main__":
    sys.exit(main())
