"""The real Helm without a cluster, and the values that tests of the chart share."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from plumbline_api.names import Image
from tests.support.build import digest
from tests.support.checkout import ROOT

__all__ = ["CHART", "DIGESTS", "VALUES", "Helm", "Object", "Rendering", "find", "images_in", "pods_in", "values_of"]

Object = dict[str, Any]

CHART = ROOT / "charts/plumbline"
VALUES = sorted((ROOT / "tests/chart/values").glob("*.yaml"))
DIGESTS: Object = {"images": {image.value: {"digest": digest(image)} for image in Image if image.required}}
"""What every release has to set."""
PROMETHEUS = "monitoring.coreos.com/v1"
PATIENCE = 60.0


@dataclass(frozen=True)
class Rendering:
    """For whom a chart is rendered."""

    values: Mapping[str, Any] = field(default_factory=dict)
    release: str = "plumbline"
    namespace: str = "plumbline-system"
    kubernetes: str = "1.34.0"
    apis: tuple[str, ...] = (PROMETHEUS,)


@dataclass(frozen=True)
class Helm:
    """One Helm, with nothing of the user's."""

    program: Path
    home: Path

    def run(self, *arguments: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """One call; `text` is what `-f -` reads.

        Raises:
            AssertionError: It did not succeed, and `check` asked for that.
        """
        settings = {f"HELM_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        done = subprocess.run(
            [str(self.program), *arguments],
            env={**kept, **settings, "KUBECONFIG": os.devnull},
            input=text,
            timeout=PATIENCE,
            check=False,
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, f"helm {arguments[0]} ended with {done.returncode}:\n{done.stderr}"
        return done

    def template(self, wanted: Rendering, *flags: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The chart as text."""
        apis = [flag for api in wanted.apis for flag in ("--api-versions", api)]
        place = (wanted.release, str(CHART), "--namespace", wanted.namespace, "--kube-version", wanted.kubernetes)
        return self.run(
            "template", *place, *apis, *flags, "-f", "-", text=yaml.safe_dump(dict(wanted.values)), check=check
        )

    def render(self, wanted: Rendering) -> list[Object]:
        """The chart as objects, rendered once for all tests: they are not to be changed."""
        key = f"{self.program} {wanted}"
        if key not in _RENDERED:
            # The CRDs are long: the loader in C reads them in a tenth of the time.
            found = yaml.load_all(self.template(wanted).stdout, yaml.CSafeLoader)
            _RENDERED[key] = [thing for thing in found if thing is not None]
        return _RENDERED[key]


_RENDERED: dict[str, list[Object]] = {}


def values_of(path: Path, **more: Any) -> Object:
    """A file of values with the digests."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    images = {name: {**DIGESTS["images"].get(name, {}), **found.get("images", {}).get(name, {})} for name in
              {*DIGESTS["images"], *found.get("images", {})}}  # fmt: skip
    return {**found, "images": images, **more}


def find(things: list[Object], kind: str, name: str = "") -> Object:
    """The only object of a kind, or of a kind and a name."""
    (found,) = [thing for thing in things if thing["kind"] == kind and name in ("", thing["metadata"]["name"])]
    return found


def pods_in(things: list[Object]) -> dict[str, Any]:
    """What the operator is told about the pods that it makes."""
    (found,) = [thing for thing in things if thing["kind"] == "ConfigMap" and "pods.json" in thing["data"]]
    told: dict[str, Any] = json.loads(found["data"]["pods.json"])
    return told


def images_in(value: Any) -> Iterator[str]:
    """Every image that manifests name."""
    if isinstance(value, dict):
        if isinstance(value.get("image"), str):
            yield value["image"]
        for part in value.values():
            yield from images_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from images_in(part)
