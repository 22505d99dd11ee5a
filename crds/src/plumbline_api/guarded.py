"""GuardedInference: serve the subject that passed this gate, behind this guard."""

from typing import Annotated

from pydantic import Field

from plumbline_api.compute import Compute
from plumbline_api.constraints import constraint
from plumbline_api.engine import Engine
from plumbline_api.meta import Conditions, ObjectMeta, ObservedGeneration
from plumbline_api.model import Document
from plumbline_api.names import API_VERSION, Kind
from plumbline_api.reasons import Phase
from plumbline_api.scalars import ApiVersion, Digest
from plumbline_api.sources import NamedRef

__all__ = [
    "Guard", "GuardLimits", "GuardedInference", "GuardedInferenceSpec", "GuardedInferenceStatus", "Refusal",
    "RulesSource", "Served", "ServingEngine",
]  # fmt: skip


class ServingEngine(Engine):
    """The engine of a served model."""

    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 256
    """Longest answer a client may ask for."""


class RulesSource(Document):
    """Guard rules in a ConfigMap, under the key `rules.yaml`."""

    config_map: NamedRef
    """The ConfigMap."""


class Refusal(Document):
    """What a blocked request is answered with."""

    text: Annotated[str, Field(min_length=1, max_length=1024)] = (
        "I can't help with that. If you tell me what you are trying to achieve, I can look for a safe way."
    )
    """The whole answer to a blocked request."""


class GuardLimits(Document):
    """Bounds on what the guard accepts."""

    max_prompt_bytes: Annotated[int, Field(ge=256, le=16_777_216)] = 65536
    """Longest request body."""
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    """Requests in work at once; more are told to come back."""


class Guard(Document):
    """What stands between clients and the engine."""

    rules: RulesSource | None = None
    """Rules for what goes in and comes out; left out, there are none."""
    refusal: Refusal = Field(default_factory=Refusal)
    """What a blocked request is answered with."""
    system_prompt: Annotated[str, Field(max_length=4096)] | None = None
    """Put before every conversation; a client's own system messages are refused then."""
    limits: GuardLimits = Field(default_factory=GuardLimits)
    """Bounds on what is accepted."""


class GuardedInferenceSpec(Document):
    """What to serve and how to guard it."""

    gate: NamedRef
    """The EvalGate whose passed subject is served."""
    engine: ServingEngine = Field(default_factory=ServingEngine)
    """What computes the answers; of the type and the precision that the gate has judged the model with."""
    compute: Compute = Field(default_factory=Compute)
    """What the serving pod may use."""
    guard: Guard = Field(default_factory=Guard)
    """What stands between clients and the engine."""
    replicas: Annotated[int, Field(ge=1, le=64)] | None = None
    """Pods that serve; left out, an autoscaler may set their number (without one, it is one)."""

    @constraint(
        "must leave nodes at 1: each replica serves by itself; spec.replicas says how many there are",
        field="compute",
        cel="self.compute.nodes == 1",
    )
    def _serves_from_one_pod(self) -> bool:
        return self.compute.nodes == 1


class Served(Document):
    """What is served now."""

    digest: Digest
    """The model that is served."""
    deployment: Annotated[str, Field(max_length=63)]
    """The Deployment that serves it."""
    endpoint: Annotated[str, Field(max_length=256)] | None = None
    """Where clients reach the guard, once it is ready."""


class GuardedInferenceStatus(Document):
    """What the operator knows of a served model."""

    observed_generation: ObservedGeneration = -1
    """The generation of the spec that this status speaks of; -1 before there is one."""
    phase: Phase = Phase.PENDING
    """Printed summary, derived from conditions."""
    conditions: Conditions = ()
    """List-map by type."""
    stable: Served | None = None
    """What is served, or was last, as long as its Deployment is there."""


class GuardedInference(Document):
    """The resource."""

    api_version: ApiVersion = API_VERSION
    """The group and version."""
    kind: Annotated[str, Field(pattern=f"^{Kind.GUARDED_INFERENCE}$")] = Kind.GUARDED_INFERENCE.value
    """The kind."""
    metadata: ObjectMeta
    """Name, namespace, labels and annotations."""
    spec: GuardedInferenceSpec
    """What to serve and how to guard it."""
