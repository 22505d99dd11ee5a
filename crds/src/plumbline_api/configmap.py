"""ConfigMap (core/v1), as far as manifests of ours use it: text by key.

Parsed by manifests.py, which also checks the guard rules inside; read by the operator when it plans a guard.
"""

from typing import Annotated, Literal

from pydantic import Field

from plumbline_api.meta import ObjectMeta
from plumbline_api.model import Document

__all__ = ["ConfigMap"]


class ConfigMap(Document):
    """The resource."""

    api_version: Literal["v1"] = "v1"
    """The group and version."""
    kind: Literal["ConfigMap"] = "ConfigMap"
    """The kind."""
    metadata: ObjectMeta
    """Name, namespace, labels and annotations."""
    data: Annotated[dict[str, Annotated[str, Field(max_length=1_000_000)]], Field(max_length=256)] = Field(
        default_factory=dict
    )
    """Texts by key; guard rules lie under names.RULES_KEY."""
