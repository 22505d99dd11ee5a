"""Releases of the chart in a cluster."""

import asyncio
import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import yaml

from tests.chart.helm import CHART, DIGESTS
from tests.cluster.client import CONFIG_MAPS, DEPLOYMENTS, KubeClient, Object
from tests.cluster.commands import run_helm
from tests.cluster.controlplane import ControlPlane

__all__ = ["Release", "values"]


def values(**more: Any) -> Object:
    """What a release beside others needs: the digests, and no CRDs of its own."""
    return {**DIGESTS, "crds": {"install": False}, **more}


class Release:
    """A release of a name in a namespace, by one of the Helms."""

    def __init__(self, plane: ControlPlane, major: int, namespace: str, name: str = "plumbline") -> None:
        self.namespace, self.name = namespace, name
        self._plane, self._major = plane, major

    async def install(self, given: Object, chart: Path = CHART, *, check: bool = True) -> CompletedProcess[str]:
        """Install a chart."""
        return await self.helm("install", self.name, str(chart), "-f", "-", text=yaml.safe_dump(given), check=check)

    async def upgrade(self, given: Object, chart: Path = CHART) -> CompletedProcess[str]:
        """Upgrade to a chart or other values."""
        return await self.helm("upgrade", self.name, str(chart), "-f", "-", text=yaml.safe_dump(given))

    async def uninstall(self) -> CompletedProcess[str]:
        """Take the release away; says what is kept."""
        return await self.helm("uninstall", self.name)

    async def history(self) -> list[str]:
        """The chart of each revision, oldest first."""
        said = (await self.helm("history", self.name, "-o", "json")).stdout
        return [str(one["chart"]) for one in json.loads(said)]

    async def helm(self, *arguments: str, text: str = "", check: bool = True) -> CompletedProcess[str]:
        """Any call about the release's namespace."""
        place = ("-n", self.namespace)
        return await asyncio.to_thread(run_helm, self._plane, self._major, *arguments, *place, text=text, check=check)

    async def environment(self, kube: KubeClient) -> dict[str, str]:
        """The variables of the operator's container, with the file about pods in place of its path."""
        deployment = await kube.get(DEPLOYMENTS, self.name, self.namespace)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        found = {
            one["name"]: f"{self.name}-0" if "valueFrom" in one else one.get("value", "") for one in container["env"]
        }
        told = await kube.get(CONFIG_MAPS, f"{self.name}-pods", self.namespace)
        return {
            **found,
            "PLUMBLINE_PODS": told["data"]["pods.json"],
            "PLUMBLINE_PORT": "0",
            "PLUMBLINE_PROGRESS_PORT": "0",
        }
