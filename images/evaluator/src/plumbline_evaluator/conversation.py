"""Holding one conversation with the subject: turn by turn, with its real answers in between, and with patience.

Called by runner.py for each case.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from plumbline_evaluator.target import Message, RequestFailed, Target

__all__ = ["Patience", "Talk", "hold"]


@dataclass(frozen=True)
class Patience:
    """How often a request that failed in transport is repeated, and how long to wait in between."""

    retries: int
    first: float = 0.25
    """Seconds before the first repetition, give or take a half; doubled each time."""
    most: float = 8.0

    def pause(self, repetition: int, asked: float, rng: random.Random) -> float:
        """Seconds before the repetition of this number (from 0); at least what the target asked for."""
        jittered = min(self.most, self.first * (1 << repetition)) * rng.uniform(0.5, 1.5)
        return max(jittered, asked)


@dataclass(frozen=True)
class Talk:
    """What came of a conversation."""

    answers: tuple[str, ...]
    """One for each turn, unless `failure` says why there are fewer."""
    repeated: int
    """Requests that had to be sent again."""
    failure: str = ""


async def hold(target: Target, turns: Sequence[str], system_prompt: str | None, patience: Patience, seed: str) -> Talk:
    """Send the turns one after the other; the retries are for the whole conversation, `seed` is for their pauses."""
    messages: list[Message] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    answers: list[str] = []
    repeated = 0
    for turn in turns:
        messages.append({"role": "user", "content": turn})
        while True:
            try:
                answer = await target.answer(messages)
                break
            except RequestFailed as failure:
                if not failure.transient or repeated >= patience.retries:
                    return Talk(tuple(answers), repeated, str(failure))
                pause = patience.pause(repeated, failure.wait, random.Random(f"{seed}/{repeated}"))
            repeated += 1
            await asyncio.sleep(pause)
        answers.append(answer)
        messages.append({"role": "assistant", "content": answer})
    return Talk(tuple(answers), repeated)
