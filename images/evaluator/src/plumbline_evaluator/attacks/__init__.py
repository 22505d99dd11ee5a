"""The attack families: each turns a prompt into the user turns of a conversation.

Called by cases.py. One family per module, with its wrappers; these are held out: training data for the
task-assistant domain uses other wrappers of the same families. Deterministic in the generator passed in.
"""

import random
from collections.abc import Mapping
from typing import Protocol

from plumbline_evaluator.attacks import (
    context_manipulation,
    direct,
    prompt_injection,
    role_play,
    social_engineering,
)

__all__ = ["ATTACKS", "VARIANTS", "Attack"]


class Attack(Protocol):
    """What each family offers."""

    def __call__(self, prompt: str, *, variant: str, turns: int, rng: random.Random) -> tuple[str, ...]:
        """The user turns; families of a single turn do not look at `turns`."""


ATTACKS: Mapping[str, Attack] = {
    "direct": direct.wrap,
    "role_play": role_play.wrap,
    "prompt_injection": prompt_injection.wrap,
    "social_engineering": social_engineering.wrap,
    "context_manipulation": context_manipulation.wrap,
}

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "direct": direct.VARIANTS,
    "role_play": role_play.VARIANTS,
    "prompt_injection": prompt_injection.VARIANTS,
    "social_engineering": social_engineering.VARIANTS,
    "context_manipulation": context_manipulation.VARIANTS,
}
