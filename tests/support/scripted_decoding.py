"""A decoder that needs no model: each order's prompt is the list of tokens its answer will have."""

import threading
from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from plumbline_trainer.engine.orders import Order

__all__ = ["END", "ScriptedDecoding", "byte_tokenizer", "script"]

END = 256


def byte_tokenizer() -> Tokenizer:
    """One token per byte, and END."""
    alphabet = _bytes_to_characters()
    tokenizer = Tokenizer(models.BPE(vocab={alphabet[byte]: byte for byte in range(256)} | {"<end>": END}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    return tokenizer


def _bytes_to_characters() -> list[str]:
    """The byte-level alphabet in the order of the bytes: printable ones stand for themselves, others are moved."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(moved)) for byte in range(256)]


def script(text: str) -> tuple[int, ...]:
    """The prompt that makes a ScriptedDecoding answer with this text."""
    return (*text.encode(), END)


class ScriptedDecoding:
    """Gives each row its prompt's tokens, one a step, and remembers who shared the batch."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self.admitted: list[int] = []
        """How many orders each admission brought."""
        self.sizes: list[int] = []
        """Rows in each step."""
        self.gate = threading.Event()
        """A step waits for this; set at the start."""
        self.gate.set()
        self.broken = False

    def admit(self, orders: Sequence[Order]) -> list[int]:
        self.admitted.append(len(orders))
        new = [list(order.prompt) for order in orders]
        self.rows += new
        return [row.pop(0) for row in new]

    def step(self) -> list[int]:
        self.gate.wait()
        if self.broken:
            raise RuntimeError("scripted failure")
        self.sizes.append(len(self.rows))
        return [row.pop(0) if row else END for row in self.rows]

    def keep(self, rows: Sequence[int]) -> None:
        self.rows = [self.rows[row] for row in rows]
