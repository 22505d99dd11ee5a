"""Server-sent events: bytes that arrive in any pieces, cut into the data of whole events, and written again.

Used by answer.py. Characters of several bytes are safe: only whole lines are looked at.
"""

import re
from typing import Final

from plumbline_guard.errors import Failed

__all__ = ["DONE", "EventReader", "written"]

DONE: Final = b"[DONE]"
_LONGEST_EVENT: Final = 1_048_576
_ONE_EVENT: Final = re.compile(rb"data: [^\n\r]{1,65536}\n\n")
"""How nearly all pieces look."""


class EventReader:
    """Collects bytes until events are whole."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that these bytes complete; raises Failed when one grows too large."""
        if not self._rest and not self._data and _ONE_EVENT.fullmatch(piece):
            return [piece[6:-2]]
        *lines, self._rest = (self._rest + piece).split(b"\n")
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
        if len(self._rest) + sum(map(len, self._data)) > _LONGEST_EVENT:
            raise Failed(502, "upstream_invalid", "the engine sent an event that is too large")
        return events


def written(data: bytes) -> bytes:
    """One event."""
    return b"data: " + data + b"\n\n"
