"""Scanning one text of an answer while it arrives: what may be sent now, what must wait, what is forbidden.

A TextScanner belongs to one text (the content of one choice, the arguments of one tool call ...). It feeds every
piece to Hyperscan streams, one for the text as written and two for the folded text, and gives back what may be sent.
While a match of a Never rule may have begun, everything from its first character on is held. answer.py owns the
scanners.
"""

from typing import Final

from plumbline_guard.folding import fold_after, locate
from plumbline_guard.rules import OutputRules

__all__ = ["HOLD_LIMIT", "ForbiddenError", "HeldTooLongError", "TextScanner"]

HOLD_LIMIT: Final = 65536
"""Characters that may wait for a Never rule to be decided; beyond, the answer cannot be judged."""


class ForbiddenError(Exception):
    """The text breaks a rule; nothing more of it may be sent."""

    def __init__(self, rule_id: str) -> None:
        super().__init__(rule_id)
        self.rule_id = rule_id


class HeldTooLongError(Exception):
    """More text than HOLD_LIMIT waits for a decision."""


class TextScanner:
    """Scans one text in pieces. Call feed() for each piece, then finish(); close() if it is given up."""

    def __init__(self, rules: OutputRules) -> None:
        self._ids = rules.ids
        self._never = rules.never
        self._as_written = rules.patterns.open()
        self._folded = (rules.patterns.open(), rules.phrases.open())
        self._ends_in_space = False
        self._held = ""
        self._space_before_held = False

    def feed(self, piece: str) -> str:
        """Take the next piece; return what may be sent now.

        Raises:
            ForbiddenError: a rule matches; neither this piece nor what was held may be sent.
            HeldTooLongError: no decision is in sight.
        """
        space_before = self._ends_in_space
        folded = fold_after(piece, space=space_before)
        if folded:
            self._ends_in_space = folded.endswith(" ")
        self._require_allowed(self._as_written.feed(piece))
        for stream in self._folded:
            self._require_allowed(stream.feed(folded))
        if self._never is None:
            return piece
        if self._held:
            return self._release(self._held + piece, None)
        self._space_before_held = space_before
        return self._release(piece, folded)

    def finish(self) -> str:
        """Take the end of the text; return what was held. Raises as feed() does."""
        for owner in [stream.close() for stream in (self._as_written, *self._folded)]:
            self._require_allowed(owner)
        rest, self._held = self._held, ""
        return rest

    def close(self) -> None:
        """Give the scan up; the memory of its streams is freed."""
        for stream in (self._as_written, *self._folded):
            stream.close()

    def _require_allowed(self, owner: int | None) -> None:
        if owner is not None:
            raise ForbiddenError(self._ids[owner])

    def _release(self, waiting: str, folded: str | None) -> str:
        """Split what is not sent yet at the first character a Never match may have begun with."""
        if self._never is None:
            return waiting
        if folded is None:
            folded = fold_after(waiting, space=self._space_before_held)
        open_from = self._never.open_from_folded(folded)
        if folded == waiting.lower():  # the same text to every rule
            cut = open_from
        else:
            cut = self._never.open_from(waiting)
            if open_from < len(folded):
                cut = min(cut, locate(waiting, open_from, space=self._space_before_held))
        sent, self._held = waiting[:cut], waiting[cut:]
        if len(self._held) > HOLD_LIMIT:
            raise HeldTooLongError
        if sent and self._held:
            self._space_before_held = _space_after(sent, space=self._space_before_held)
        return sent


def _space_after(text: str, *, space: bool) -> bool:
    folded = fold_after(text, space=space)
    return folded.endswith(" ") if folded else space
