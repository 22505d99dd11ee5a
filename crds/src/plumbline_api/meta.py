"""What every object carries: metadata, conditions and references (the Kubernetes API conventions)."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from plumbline_api.constraints import Unique
from plumbline_api.model import Document, Timestamp
from plumbline_api.reasons import ConditionType, Reason
from plumbline_api.scalars import Name, NamespaceName

__all__ = ["Condition", "ConditionStatus", "Conditions", "ObjectMeta", "ObservedGeneration"]

_PREFIX = r"^([{0}]([-{0}]*[{0}])?(\.[{0}]([-{0}]*[{0}])?)*/)?"
_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LabelKey = Annotated[str, StringConstraints(pattern=_PREFIX.format("a-z0-9") + _KEY, max_length=317)]
AnnotationKey = Annotated[str, StringConstraints(pattern=_PREFIX.format("A-Za-z0-9") + _KEY, max_length=317)]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
LabelMap = Annotated[dict[LabelKey, LabelValue], Field(max_length=1024)]
AnnotationMap = Annotated[dict[AnnotationKey, Annotated[str, Field(max_length=262_144)]], Field(max_length=1024)]


class ObjectMeta(Document):
    """The part of Kubernetes ObjectMeta that users write in a manifest."""

    name: Name
    """Unique among the objects of its kind and namespace."""
    namespace: NamespaceName = "default"
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


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16), Unique("type")]
ObservedGeneration = Annotated[int, Field(ge=-1)]
"""No generation is -1, so whoever waits never takes an object that nobody has looked at yet for a finished one."""
