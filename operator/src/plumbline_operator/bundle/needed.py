"""The one list of images: all that the chart or the operator can ever use, from the chart's values. Pure.

An image of somebody else's, which no release needs, is one of them once the values name its digest.

Read by whoever writes, verifies or pushes a bundle. A test renders the chart and plans every pod, and compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plumbline_api.names import Image

__all__ = ["NeededImage", "needed_images"]

_OPTIONAL = frozenset(image.value for image in Image if not image.required)


@dataclass(frozen=True, order=True)
class NeededImage:
    """An image that a release uses."""

    name: str
    """Its key in the chart's values."""
    registry: str
    repository: str
    tag: str
    digest: str
    """Empty where the values name none; then the tag counts."""

    @property
    def reference(self) -> str:
        """What a pod names, as the chart's helper writes it."""
        place = f"{self.registry}/{self.repository}"
        return f"{place}@{self.digest}" if self.digest else f"{place}:{self.tag}"


def needed_images(values: Mapping[str, Any], version: str) -> tuple[NeededImage, ...]:
    """Every image that a release with these values can use, by name; `version` is the chart's appVersion.

    Values are the chart's own with a user's laid over them, as Helm has them.
    """
    everywhere = values.get("global", {}).get("imageRegistry", "")
    return tuple(
        NeededImage(
            name=name,
            registry=everywhere or image.get("registry", ""),
            repository=image["repository"],
            tag=image.get("tag", "") or version,
            digest=image.get("digest", ""),
        )
        for name, image in sorted(values["images"].items())
        if image.get("digest") or name not in _OPTIONAL
    )
