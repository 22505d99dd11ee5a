"""What every object carries: metadata, conditions and references (the Kubernetes API conventions)."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from plumbline_api.model import Document, Timestamp
from plumbline_api.reasons import ConditionType, Reason
from plumbline_api.scalars import Name

__all__ = ["Condition", "ConditionStatus", "ObjectMeta"]

LabelKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=253
    ),
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
LabelMap = Annotated[dict[LabelKey, LabelValue], Field(max_length=32)]
AnnotationMap = Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)]


class ObjectMeta(Document):
    """The part of Kubernetes ObjectMeta that users write in a manifest."""

    name: Name
    """Unique among the objects of its kind and namespace."""
    namespace: Name = "default"
    """Objects refer to others of their own namespace."""
    labels: LabelMap = Field(default_factory=dict)
    """For selecting; short values."""
    annotations: AnnotationMap = Field(default_factory=dict)
    """For tools and people."""


class ConditionStatus(StrEnum):
    """Status of a condition, as in the Kubernetes API conventions."""

    TRUE = "True"
    """It is so."""
    FALSE = "False"
    """It is not so."""
    UNKNOWN = "Unknown"
    """It cannot be told yet."""


class Condition(Document):
    """One condition of a status; a list of them is keyed by `type`."""

    type: ConditionType
    """What the condition is about."""
    status: ConditionStatus
    """Whether it is so."""
    reason: Reason
    """Why, for programs."""
    message: Annotated[str, Field(max_length=1024)]
    """Why, for people: object, fact, next action."""
    observed_generation: int
    """The generation of the spec that the condition speaks of."""
    last_transition_time: Timestamp
    """Moves with `status` alone."""
