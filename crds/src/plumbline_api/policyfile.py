"""PolicyFile v1: what a guard enforces. Written by the operator's plan; read by the guard."""

from typing import Annotated, Literal

from pydantic import Field

from plumbline_api.guarded import GuardLimits
from plumbline_api.model import Document
from plumbline_api.rules import GuardRule
from plumbline_api.scalars import Digest, Name

__all__ = ["PolicyFile"]


class PolicyFile(Document):
    """The guard's orders."""

    version: Literal[1] = 1
    model: Name
    """The model name that clients see."""
    subject: Digest
    """The model the engine must serve; the guard is not ready while the engine says another."""
    rules: Annotated[tuple[GuardRule, ...], Field(max_length=1000)] = ()
    refusal: Annotated[str, Field(min_length=1, max_length=1024)]
    system_prompt: Annotated[str, Field(max_length=4096)] | None = None
    limits: GuardLimits = Field(default_factory=GuardLimits)
    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 256
