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
    """Version of this format."""
    model: Name
    """The model name that clients see."""
    subject: Digest
    """The model the engine must serve; the guard is not ready while the engine says another."""
    rules: Annotated[tuple[GuardRule, ...], Field(max_length=1000)] = ()
    """Checked on every request and answer."""
    refusal: Annotated[str, Field(min_length=1, max_length=1024)]
    """The whole answer to a blocked request."""
    system_prompt: Annotated[str, Field(max_length=4096)] | None = None
    """Put before every conversation; a client's own system messages are refused then."""
    limits: GuardLimits = Field(default_factory=GuardLimits)
    """Bounds on what is accepted."""
    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 256
    """Longest answer a client may ask for."""
