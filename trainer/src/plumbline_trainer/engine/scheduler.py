"""Which answers are computed together: admits waiting orders into the running batch and takes finished rows out.

`run` is the body of the decoding thread; `submit` may be called from any thread. Newcomers are admitted between
steps, but not one by one: reading a prompt stops all running rows for a moment, so they wait until they are many or
have waited PATIENCE steps (docs/decisions has the measurements). Finished rows leave when enough have gathered, as
taking them out copies the cache.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from tokenizers import Tokenizer

from plumbline_trainer.engine.orders import EngineStopped, Finish, Order, Piece, QueueFull, Ticket
from plumbline_trainer.engine.transcript import Transcript

__all__ = ["Decoding", "Scheduler"]

PATIENCE = 8
"""Steps after which a waiting order is admitted, however few wait with it."""
CROWD = 0.5
"""Share of the running rows that, when waiting, is admitted at once."""
LEAVERS = 0.25
"""Share of the batch that must have finished before its rows are taken out."""

log = logging.getLogger(__name__)


class Decoding(Protocol):
    """A batch of rows under computation."""

    def admit(self, orders: Sequence[Order]) -> list[int]:
        """Add rows below the present ones; return the first token of each."""

    def step(self) -> list[int]:
        """Compute one more token for every row."""

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row but these."""


class _Row:
    """One running answer."""

    def __init__(self, ticket: Ticket, tokenizer: Tokenizer) -> None:
        self.ticket = ticket
        self.over = False
        self._transcript = Transcript(tokenizer, ticket.order.stop)
        self._text = ""
        self._tokens = 0

    def take(self, token: int, ends: frozenset[int]) -> None:
        """Use one more token; deliver what can be delivered."""
        self._tokens += 1
        finish = Finish.STOP if token in ends else None
        if finish is None:
            self._text += self._transcript.add(token)
            if self._transcript.stopped:
                finish = Finish.STOP
            elif self._tokens >= self.ticket.order.max_tokens:
                finish = Finish.LENGTH
        if finish is not None:
            self._text += self._transcript.finish()
            self.over = True
        if finish is not None or (self._text and self.ticket.order.stream):
            self.ticket.deliver(Piece(self._text, self._tokens, finish))
            self._text = ""


class Scheduler:
    """The queue before one decoder, and its thread's loop."""

    def __init__(
        self, decoding: Decoding, tokenizer: Tokenizer, ends: frozenset[int], *, max_batch: int, max_queue: int
    ) -> None:
        self._decoding = decoding
        self._tokenizer = tokenizer
        self._ends = ends
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._rows: list[_Row] = []
        self._waited = 0

    def submit(self, ticket: Ticket) -> None:
        """Accept an order.

        Raises:
            QueueFull: too many wait already.
            EngineStopped: the loop has ended or is ending.
        """
        with self._changed:
            if self._stopped:
                raise EngineStopped
            if len(self._waiting) >= self._max_queue:
                raise QueueFull
            self._waiting.append(ticket)
            self._changed.notify()

    @property
    def load(self) -> tuple[int, int]:
        """Answers running and waiting at this moment."""
        return len(self._rows), len(self._waiting)

    def stop(self) -> None:
        """Accept nothing more; `run` returns when all that was accepted is answered or cancelled."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def run(self) -> None:
        """Serve until stopped. A failure of the model fails every accepted order and is raised."""
        try:
            while self._await_work():
                self._turn()
        except BaseException:
            self._fail_all()
            raise

    def _await_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or bool(self._rows) or bool(self._waiting))
            return bool(self._rows) or bool(self._waiting)

    def _turn(self) -> None:
        self._admit()
        if self._running():
            self._advance(self._decoding.step(), self._rows)
        self._clear_out()

    def _admit(self) -> None:
        tickets = sorted(self._next_tickets(), key=lambda ticket: len(ticket.order.prompt))
        if not tickets:
            return
        rows = [_Row(ticket, self._tokenizer) for ticket in tickets]
        self._rows += rows
        self._advance(self._decoding.admit([ticket.order for ticket in tickets]), rows)

    def _next_tickets(self) -> list[Ticket]:
        with self._changed:
            self._waiting = deque(ticket for ticket in self._waiting if not ticket.cancelled)
            running, waiting = len(self._rows), len(self._waiting)
            free = min(self._max_batch - running, waiting)
            self._waited = self._waited + 1 if waiting else 0
            if free <= 0 or (free < CROWD * running and self._waited <= PATIENCE):
                return []
            self._waited = 0
            return [self._waiting.popleft() for _ in range(free)]

    def _advance(self, tokens: Sequence[int], rows: Sequence[_Row]) -> None:
        for token, row in zip(tokens, rows, strict=True):
            row.over = row.over or row.ticket.cancelled
            if not row.over:
                row.take(token, self._ends)

    def _running(self) -> int:
        return sum(not row.over for row in self._rows)

    def _clear_out(self) -> None:
        running = self._running()
        gone = len(self._rows) - running
        if gone and (running == 0 or gone >= LEAVERS * len(self._rows)):
            stay = [index for index, row in enumerate(self._rows) if not row.over]
            self._decoding.keep(stay)
            self._rows = [self._rows[index] for index in stay]

    def _fail_all(self) -> None:
        with self._changed:
            self._stopped = True
            tickets = [row.ticket for row in self._rows if not row.over] + list(self._waiting)
            self._rows, self._waiting = [], deque()
        log.error("the decoding thread failed; %d requests end with an error", len(tickets))
        for ticket in tickets:
            if not ticket.cancelled:
                ticket.deliver(Piece(failed=True))
