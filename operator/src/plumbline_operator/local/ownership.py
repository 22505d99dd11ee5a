"""What is kept of a child that has processes: whose it is, and its manifest. Used by `jobs` and `deployments`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from plumbline_api.model import Document
from plumbline_api.names import Kind
from plumbline_operator.local.layout import read_json
from plumbline_operator.observed import Key

__all__ = ["OwnedManifest", "read_owned"]


class OwnedManifest(Document):
    """A manifest and its owner."""

    FILE: ClassVar[str] = "manifest.json"

    owner_kind: str
    namespace: str
    owner: str
    manifest: dict[str, Any]

    @classmethod
    def of(cls, owner: Key, manifest: Mapping[str, Any]) -> Self:
        """The record of a new child."""
        return cls(owner_kind=owner.kind.value, namespace=owner.namespace, owner=owner.name, manifest=dict(manifest))

    def belongs_to(self, key: Key) -> bool:
        """Whether the child was made for this object."""
        return self.owner_key == key

    @property
    def owner_key(self) -> Key:
        """The object the child was made for."""
        return Key(Kind(self.owner_kind), self.namespace, self.owner)

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the child."""
        found: Mapping[str, str] = self.manifest["metadata"].get("labels", {})
        return found

    @property
    def spec(self) -> Mapping[str, Any]:
        """Its spec."""
        found: Mapping[str, Any] = self.manifest["spec"]
        return found

    @property
    def pod(self) -> Mapping[str, Any]:
        """The spec of its pods."""
        found: Mapping[str, Any] = self.spec["template"]["spec"]
        return found


def read_owned(folder: Path) -> dict[Path, OwnedManifest]:
    """The children in a namespace's folder; one whose creation or removal was cut short is none."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        data = None if path.name.startswith(".") else read_json(path / OwnedManifest.FILE)
        if data is not None:
            found[path] = OwnedManifest.parse(data)
    return found
