"""What every object carries: metadata, conditions and references (the Kubernetes API conventions)."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from plumbline_api.model import Document, Timestamp
from plumbline_api.reasons import ConditionType, Reason
from plumbline_api.scalars import Name

__all__ = ["Condition", "ConditionStatus", "ObjectMeta"]

LabelMap = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)]
AnnotationMap = Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)]


class ObjectMeta(Document):
    """The part of Kubernetes ObjectMeta that users write in a manifest."""

    name: Name
    namespace: Name = "default"
    labels: LabelMap = Field(default_factory=dict)
    annotations: AnnotationMap = Field(default_factory=dict)


class ConditionStatus(StrEnum):
    """Status of a condition, as in the Kubernetes API conventions."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Document):
    """One condition of a status; a list of them is keyed by `type`."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: Annotated[str, Field(max_length=1024)]
    observed_generation: int
    last_transition_time: Timestamp
    """Moves with `status` alone."""
