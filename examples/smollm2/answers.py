"""What the model itself answers to ordinary instructions, computed with the engine's own decoder.

These become the preferred answers of the benign pairs. An answer is cut after its last whole sentence; one that
repeats itself, as a model this small sometimes does, or says next to nothing, is left out. Called by `prepare`.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["answer_all"]

TOKENS = 36
FEWEST_WORDS = 6
FEWEST_DIFFERENT = 0.6
"""Share of different words that an answer needs."""


def answer_all(model: Path, requests: Sequence[str], threads: int, tell: Callable[[int], None]) -> dict[str, str]:
    """The usable answers, by request; `tell` hears how many have been computed."""
    from plumbline_trainer.engine.chat import Message
    from plumbline_trainer.engine.decoder import Decoder
    from plumbline_trainer.engine.loading import load_model
    from plumbline_trainer.engine.orders import Order, Piece, Ticket
    from plumbline_trainer.engine.scheduler import Scheduler

    loaded = load_model(model, threads)
    decoder = Decoder(loaded.model, loaded.pad)
    scheduler = Scheduler(decoder, loaded.tokenizer, loaded.ends, max_batch=32, max_queue=len(requests))
    found: dict[str, str] = {}

    def receive(request: str) -> Callable[[Piece], None]:
        def deliver(piece: Piece) -> None:
            found[request] = piece.text
            tell(len(found))

        return deliver

    for request in requests:
        prompt = loaded.prompt([Message(role="user", content=request)])
        scheduler.submit(Ticket(Order(prompt, TOKENS), receive(request)))
    scheduler.stop()
    scheduler.run()
    return {request: text for request in requests if (text := _whole_sentences(found[request]))}


def _whole_sentences(text: str) -> str:
    """The text up to its last whole sentence, or nothing if that is not worth learning from."""
    ends = list(re.finditer(r"[.!?](?=\s|$)", text))
    kept = text[: ends[-1].end()].strip() if ends else ""
    words = kept.lower().split()
    if len(words) < FEWEST_WORDS or len(set(words)) < FEWEST_DIFFERENT * len(words):
        return ""
    return re.sub(r"\s+\d+\.$", "", kept)
