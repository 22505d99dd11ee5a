"""GuardedInference: serve the subject that passed this gate, behind this guard."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from plumbline_api.alignment import Compute
from plumbline_api.meta import Condition, ObjectMeta
from plumbline_api.model import Document
from plumbline_api.names import API_VERSION, Kind
from plumbline_api.reasons import Phase
from plumbline_api.scalars import ApiVersion, Digest
from plumbline_api.sources import NamedRef

__all__ = [
    "Engine", "EngineType", "Guard", "GuardLimits", "GuardedInference", "GuardedInferenceSpec",
    "GuardedInferenceStatus", "Refusal", "RulesSource", "Served",
]  # fmt: skip


class EngineType(StrEnum):
    """Engines that can serve a model."""

    TRANSFORMERS = "transformers"


class Engine(Document):
    """What computes the answers; it listens on loopback only."""

    type: EngineType = EngineType.TRANSFORMERS
    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 256
    """Longest answer a client may ask for."""


class RulesSource(Document):
    """Guard rules in a ConfigMap, under the key `rules.yaml`."""

    config_map: NamedRef


class Refusal(Document):
    """What a blocked request is answered with."""

    text: Annotated[str, Field(min_length=1, max_length=1024)] = (
        "I can't help with that. If you tell me what you are trying to achieve, I can look for a safe way."
    )


class GuardLimits(Document):
    """Bounds on what the guard accepts."""

    max_prompt_bytes: Annotated[int, Field(ge=256, le=16_777_216)] = 65536
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64


class Guard(Document):
    """What stands between clients and the engine."""

    rules: RulesSource | None = None
    refusal: Refusal = Field(default_factory=Refusal)
    system_prompt: Annotated[str, Field(max_length=4096)] | None = None
    """Put before every conversation; a client's own system messages are refused then."""
    limits: GuardLimits = Field(default_factory=GuardLimits)


class GuardedInferenceSpec(Document):
    """What to serve and how to guard it."""

    gate: NamedRef
    engine: Engine = Field(default_factory=Engine)
    compute: Compute = Field(default_factory=Compute)
    guard: Guard = Field(default_factory=Guard)


class Served(Document):
    """What is served now."""

    digest: Digest
    deployment: Annotated[str, Field(max_length=63)]
    endpoint: Annotated[str, Field(max_length=256)] | None = None


class GuardedInferenceStatus(Document):
    """What the operator knows of a served model."""

    observed_generation: int = 0
    phase: Phase = Phase.PENDING
    conditions: tuple[Condition, ...] = ()
    stable: Served | None = None


class GuardedInference(Document):
    """The resource."""

    api_version: ApiVersion = API_VERSION
    kind: Annotated[str, Field(pattern=f"^{Kind.GUARDED_INFERENCE}$")] = Kind.GUARDED_INFERENCE.value
    metadata: ObjectMeta
    spec: GuardedInferenceSpec
