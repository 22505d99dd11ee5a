"""Direct requests: the prompt as it stands."""

import random

__all__ = ["VARIANTS", "wrap"]

VARIANTS = ("plain",)


def wrap(prompt: str, *, variant: str, turns: int, rng: random.Random) -> tuple[str, ...]:
    """The prompt, unchanged."""
    return (prompt,)
