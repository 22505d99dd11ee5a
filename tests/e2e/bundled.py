"""Bundles on their way to the site: written, signed, and brought into its registry as docs/airgap.md says."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from images.bundle.writer import Sources, write_bundle
from plumbline_operator.bundle.accounts import PASSWORD, USER
from tests.e2e.installation import Release
from tests.e2e.realcluster import RealCluster
from tests.e2e.siteimages import BUILT, Images
from tests.support import bundles
from tests.support.checkout import ROOT

__all__ = ["bring_bundle", "present_sources"]


def present_sources(built: Images) -> Sources:
    """What a bundle of this checkout is made of."""
    return Sources(ROOT, BUILT, built.records)


def bring_bundle(cluster: RealCluster, sources: Sources, folder: Path) -> Release:
    """`make bundle` and `plumbline bundle push`; what Helm is to be given then.

    Raises:
        AssertionError: The bundle was refused.
    """
    key, _, public = bundles.write_pair(folder)
    bundle = write_bundle(sources, folder / "out", key)
    registry = cluster.registry
    account = {USER: registry.user, PASSWORD: registry.password}
    words = [str(bundle), registry.by_address, "--key", str(public), "--ca", str(registry.authority), "--user-from-env"]
    program = [sys.executable, "-m", "plumbline_operator", "bundle", "push", *words]
    done = subprocess.run(program, env={**os.environ, **account}, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (chart,) = (bundle / "charts").iterdir()
    return Release(chart, yaml.safe_load((bundle / "values-bundle.yaml").read_text(encoding="utf-8"))["images"])
