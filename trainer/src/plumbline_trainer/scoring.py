"""Where the output layer is computed: only at the tokens that are learned.

Most tokens of a row are its prompt, whose predictions nobody needs, and the output layer is a third of a small model's
work. TRL leaves them out too, except on devices whose compiler wants equal shapes, among which it counts the CPU; torch
has no such wish there. The result is the same number by number. Called once by `training`.
"""

import trl.trainer.utils

__all__ = ["SWITCH", "score_learned_tokens"]

SWITCH = "_use_triton"
"""TRL's own name for the question; its kernels ask another copy, so only the choice of tokens changes."""


def score_learned_tokens() -> None:
    """Let TRL's fused output layer skip what is not learned; where the switch is gone, TRL decides as it likes."""
    if hasattr(trl.trainer.utils, SWITCH):
        setattr(trl.trainer.utils, SWITCH, _always)


def _always(_device: object) -> bool:
    return True
