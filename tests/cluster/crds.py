"""Our kinds on a real API server: the committed CRDs, and where objects of a kind are found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from plumbline_api.crd import filename_of
from plumbline_api.names import GROUP, PLURALS, VERSION, Kind
from tests.cluster.client import KubeClient, Resource
from tests.support.checkout import ROOT

__all__ = ["CRD_FILES", "KINDS", "install_crds"]

KINDS: Final[Mapping[Kind, Resource]] = {kind: Resource(GROUP, VERSION, PLURALS[kind]) for kind in Kind}
"""Where the API server keeps the objects of a kind."""
CRD_FILES: Final[Mapping[Kind, Path]] = {kind: ROOT / "crds" / filename_of(kind) for kind in Kind}
"""The committed CRDs."""


async def install_crds(kube: KubeClient) -> None:
    """Apply the committed CRDs, and return once every kind is served."""
    for file in CRD_FILES.values():
        await kube.establish(yaml.safe_load(file.read_text(encoding="utf-8")))
