"""What the pods of an object may use, where they run, and the queue that admits them. Read by the operator's plans."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from plumbline_api.constraints import constraint
from plumbline_api.meta import LabelKey, LabelValue
from plumbline_api.model import Document
from plumbline_api.scalars import Quantity

__all__ = ["Compute", "Gpu", "Queue", "TaintEffect", "Toleration", "TolerationOperator"]

QueueName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
NodeSelector = Annotated[dict[LabelKey, LabelValue], Field(max_length=16)]
ResourceName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/"
        r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        max_length=128,
    ),
]


class Gpu(Document):
    """GPUs of one pod. The trainer and engine vllm compute on them; Plumbline's own engine computes on the CPU."""

    product: ResourceName = "nvidia.com/gpu"
    """The resource that the cluster's device plugin offers."""
    count: Annotated[int, Field(ge=1, le=64)] = 1
    """How many of it."""


class TolerationOperator(StrEnum):
    """How a toleration meets a taint."""

    EQUAL = "Equal"
    """Key and value are the taint's."""
    EXISTS = "Exists"
    """The key is the taint's, whatever its value; without a key, every taint."""


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    """They are not put there."""
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    """They are put there last."""
    NO_EXECUTE = "NoExecute"
    """They are not put there, and are driven away."""


class Toleration(Document):
    """A taint of nodes that the pods put up with, as Kubernetes has it."""

    key: LabelKey | None = None
    """The taint's key; left out, with Exists, all taints."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """How key and value are compared."""
    value: LabelValue | None = None
    """The taint's value, with Equal."""
    effect: TaintEffect | None = None
    """The taint's effect; left out, every effect."""

    @constraint(
        "must be Exists where there is no key",
        field="operator",
        cel="has(self.key) || (has(self.operator) && self.operator == 'Exists')",
    )
    def _has_a_key(self) -> bool:
        return self.key is not None or self.operator == TolerationOperator.EXISTS

    @constraint(
        "is compared with Equal only; leave it out with Exists",
        field="value",
        cel="!has(self.value) || !has(self.operator) || self.operator == 'Equal'",
    )
    def _compares_a_value(self) -> bool:
        return self.value is None or self.operator == TolerationOperator.EQUAL


class Compute(Document):
    """What one pod may use, where it runs, and how many of them work together."""

    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    """Pods that train together, each on a share of every batch; only of an AlignmentRun."""
    cpu: Quantity = "2"
    """Cores; training uses all of them."""
    memory: Quantity | None = None
    """Memory limit; exceeding it is OutOfMemory."""
    gpu: Gpu | None = None
    """GPUs to ask for; left out, none."""
    node_selector: NodeSelector = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints of nodes that do not matter."""

    def of_one_pod(self) -> dict[str, Any]:
        """Plain JSON data of what one of the pods gets, however many there are."""
        return {key: value for key, value in self.dump().items() if key != "nodes"}


class Queue(Document):
    """A queue of Kueue. It alone decides when a Job starts, and may stop one to let another go first."""

    name: QueueName
    """The LocalQueue, in the namespace of the run."""
    priority_class: QueueName | None = None
    """The WorkloadPriorityClass; left out, the queue's own order."""
