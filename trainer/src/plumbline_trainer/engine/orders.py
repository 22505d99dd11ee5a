"""What passes between the HTTP side and the decoding thread: orders in, pieces of text out.

Made by `server` from requests, served by `scheduler`. Plain data; no torch, no HTTP.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["EngineStopped", "Finish", "Order", "Piece", "QueueFull", "Sampling", "Ticket"]


class QueueFull(Exception):
    """More requests wait than the engine accepts."""


class EngineStopped(Exception):
    """The engine takes no more orders: it is ending, or its decoding thread failed."""


class Finish(StrEnum):
    """Why an answer ended; OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class Sampling:
    """How the next token is picked; temperature 0 takes the likeliest."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Order:
    """One answer to compute."""

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    stream: bool = False
    """Deliver text as it comes; otherwise once, at the end."""


@dataclass(frozen=True)
class Piece:
    """Text of an answer; the last piece carries why it ended, or that it failed."""

    text: str = ""
    tokens: int = 0
    """Tokens generated so far."""
    finish: Finish | None = None
    failed: bool = False

    @property
    def last(self) -> bool:
        """Nothing follows."""
        return self.failed or self.finish is not None


@dataclass(eq=False)
class Ticket:
    """An order that was accepted. `deliver` is called on the decoding thread."""

    order: Order
    deliver: Callable[[Piece], None]
    cancelled: bool = field(default=False, init=False)

    def cancel(self) -> None:
        """Nobody waits for the answer any more; its place is freed at the next step."""
        self.cancelled = True
