"""What a server says in HTTP/1.1, found by llhttp in the pieces that come (RFC 9112)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

__all__ = ["Answer", "AnswerReader", "Broken"]

_LONGEST_HEAD: Final = 1 << 16
_FIRST_FINAL: Final = 200
"""Lower codes announce an answer."""


class Broken(ConnectionError):
    """The connection ended before the answer did, or what came is no HTTP."""


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    content: bytes


class AnswerReader:
    """Collects one answer, which is to be had at its end, or its content as it comes."""

    def __init__(self) -> None:
        self.begun = self.whole = self.kept = False
        """Whether the head is there, whether all of it is, and whether the server goes on with the connection then."""
        self.held = 0
        """Bytes of content that are there and have not been taken."""
        self._parser = HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._content: list[bytes] = []
        self._head = 0

    def feed(self, data: bytes) -> None:
        """Take a piece.

        Raises:
            Broken: It cannot be an answer, or goes on after its end.
        """
        if not self.begun:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserCallbackError) as error:
            raise Broken(f"the answer is no HTTP ({type(error).__name__})") from error
        if not self.begun and self._head > _LONGEST_HEAD:
            raise Broken("the answer is no HTTP (its head does not end)")

    def end(self) -> None:
        """The connection has ended, and with it an answer that does not say where it does."""
        unbounded = not {"content-length", "transfer-encoding"} & self._headers.keys()
        self.whole = self.whole or (self.begun and unbounded)

    def take(self) -> Answer:
        """What is there, with the content that came since it was last taken."""
        content = self._content[0] if len(self._content) == 1 else b"".join(self._content)
        self._content.clear()
        self.held = 0
        return Answer(self._parser.get_status_code(), self._headers, content)

    # Called by the parser

    def on_message_begin(self) -> None:
        """An answer begins; a second one was not asked for."""
        if self.whole:
            raise ValueError("it is longer than it said")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which says nothing that is wanted."""
        if not self.begun:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole; that of an early answer is followed by another one."""
        self.begun = self._parser.get_status_code() >= _FIRST_FINAL

    def on_body(self, body: bytes) -> None:
        """A part of the content."""
        self._content.append(body)
        self.held += len(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self.begun:
            self.whole, self.kept = True, self._parser.should_keep_alive()
        self._headers = self._headers if self.begun else {}
