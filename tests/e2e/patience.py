"""Waiting for what programs beside the test do."""

import time
from collections.abc import Callable

__all__ = ["until"]

PERIOD = 0.3


def until(look: Callable[[], object], what: str, seconds: float, explain: Callable[[], str] = str) -> None:
    """Return once it holds.

    Args:
        look: What is asked again and again.
        what: It in words.
        seconds: How long it may take.
        explain: What went on instead, for the message.

    Raises:
        AssertionError: It did not hold in time.
    """
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain until {what}\n{explain()}")
        time.sleep(PERIOD)
