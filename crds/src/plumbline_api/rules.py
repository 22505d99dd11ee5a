"""Guard rules: what may not go in, what may not come out.

Written by users in a ConfigMap (key names.RULES_KEY); checked by `plumbline validate`; copied into the PolicyFile.
"""

import re
import warnings
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from plumbline_api.model import Document
from plumbline_api.scalars import Name

__all__ = ["Direction", "Emission", "GuardRule", "GuardRules"]


class Direction(StrEnum):
    """Where a rule looks."""

    INPUT = "Input"
    """What clients send: every message, part and tool result."""
    OUTPUT = "Output"
    """What the engine answers."""


class Emission(StrEnum):
    """What a streamed answer may already have sent when an output rule matches."""

    STOP = "Stop"
    """Text before the match may have been sent; the stream ends at the match."""
    NEVER = "Never"
    """Not one character of a match may be sent: the stream is held back while a match is open."""


def _require_pattern(pattern: str) -> str:
    if re.search(r"\(\?(=|!|<=|<!)|\\[1-9]|\(\?P=", pattern):
        raise ValueError("uses look-around or a back-reference, which the guard does not support")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a future Python will read differently
            re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    except (OverflowError, RecursionError) as error:
        raise ValueError("is too large: repeat and nest less") from error
    return pattern


class GuardRule(Document):
    """One rule: phrases (found anywhere, case ignored) or one regular expression."""

    id: Name
    """Names the rule in logs and metrics."""
    applies_to: Annotated[tuple[Direction, ...], Field(min_length=1, max_length=2)] = (Direction.INPUT,)
    """Where the rule looks."""
    phrases: Annotated[
        tuple[Annotated[str, Field(min_length=2, max_length=256)], ...],
        Field(max_length=2000),
    ] = ()
    """Texts to look for, case ignored."""
    pattern: Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_require_pattern)] | None = None
    """Case is ignored. No look-around and no back-references: matching takes linear time."""
    emission: Emission = Emission.STOP
    """What a streamed answer may already have sent when the rule matches."""
    reason: Annotated[str, Field(max_length=256)] = ""
    """For people who read logs and dashboards; never shown to the client."""

    @model_validator(mode="after")
    def _well_formed(self) -> Self:
        if bool(self.phrases) == (self.pattern is not None):
            raise ValueError("give either phrases or pattern")
        return self


class GuardRules(Document):
    """A list of rules, keyed by id."""

    rules: Annotated[tuple[GuardRule, ...], Field(max_length=1000)] = ()
    """The rules; any match blocks."""

    @model_validator(mode="after")
    def _unique(self) -> Self:
        seen = [rule.id for rule in self.rules]
        twice = sorted({rule_id for rule_id in seen if seen.count(rule_id) > 1})
        if twice:
            raise ValueError(f"rules: two rules have the id {twice[0]}")
        return self
