"""How a wrapper is written down and filled in; used by the attack families beside it.

A single-turn wrapper is a text with `{p}` where the prompt goes. Nothing else in it is special, so a prompt
may hold any characters.
"""

import random
from collections.abc import Mapping

__all__ = ["Templates", "fill", "wrap_single"]

Templates = Mapping[str, tuple[str, ...]]
"""Wrappers by variant."""


def fill(template: str, prompt: str) -> str:
    """Put the prompt into the wrapper."""
    return template.replace("{p}", prompt, 1)


def wrap_single(templates: Templates, prompt: str, variant: str, rng: random.Random) -> tuple[str, ...]:
    """One user turn: a wrapper of the variant around the prompt."""
    return (fill(rng.choice(templates[variant]), prompt),)
