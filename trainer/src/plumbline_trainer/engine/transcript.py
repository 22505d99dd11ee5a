"""The text of one answer while it is made: tokens in, text that may be sent out.

Used by `scheduler` for each running answer. A character of several bytes comes out when it is complete; text that
may be the beginning of a stop string is held back until that is decided.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

__all__ = ["Transcript"]


class Transcript:
    """Incremental detokenisation of one answer, with stop strings. All pieces joined are the decoded whole."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stops = tuple(stops)
        self._tokens: list[int] = []
        self._decoded = ""
        self._held = ""
        self.stopped = False
        """A stop string was found; the text before it has been given out."""

    def add(self, token: int) -> str:
        """Take one token; return the text that can be sent now."""
        self._tokens.append(token)
        return self._release(self._stream.step(self._tokenizer, token) or "")

    def finish(self) -> str:
        """What is left when no token follows: text held back, and bytes that never became a character."""
        if self.stopped:
            return ""
        whole: str = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        rest = whole[len(self._decoded) :] if whole.startswith(self._decoded) else ""
        text = self._release(rest) + self._held
        self._held = ""
        return text

    def _release(self, new: str) -> str:
        self._decoded += new
        text = self._held + new
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-size:])), 0)
