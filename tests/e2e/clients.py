"""Clients of a served model that ask without a pause, and count what they get."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from urllib.parse import urlsplit

__all__ = ["Client", "clients"]

PAUSE = 0.3
TIMEOUT = 60


@dataclass
class Client:
    """One that asks in turn what it is given, over connections that it keeps or over new ones."""

    address: str
    model: str
    questions: dict[str, str]
    """Each with the beginning of the answer that is right."""
    keeps: bool
    streams: bool
    answered: int = 0
    slowest: float = 0.0
    """Seconds."""
    failures: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until told that it is over."""
        place = urlsplit(self.address)
        assert place.hostname is not None
        connection = http.client.HTTPConnection(place.hostname, place.port or 80, timeout=TIMEOUT)
        for said, right in cycle(self.questions.items()):
            if self.over.wait(PAUSE):
                break
            began = time.monotonic()
            try:
                answer = self._ask(connection, said)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                connection.close()
                self.failures.append(f"{time.strftime('%X')}: {type(error).__name__}: {error}")
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            if answer.startswith(right):
                self.answered += 1
            else:
                self.failures.append(f"{time.strftime('%X')}: {said!r} -> {answer!r}")
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, said: str) -> str:
        body = {"model": self.model, "messages": [{"role": "user", "content": said}], "temperature": 0}
        headers = {"Content-Type": "application/json"} | ({} if self.keeps else {"Connection": "close"})
        text = json.dumps(body | {"stream": self.streams})
        connection.request("POST", "/v1/chat/completions", text, headers)
        with connection.getresponse() as response:
            found = response.read()
            if response.status != http.HTTPStatus.OK:
                raise ValueError(f"status {response.status}: {found.decode(errors='replace')[:200]}")
        if not self.keeps:
            connection.close()
        return _streamed(found) if self.streams else str(json.loads(found)["choices"][0]["message"]["content"])


def _streamed(found: bytes) -> str:
    """The text of a stream, which has to be whole."""
    events = [event.removeprefix(b"data: ") for event in found.split(b"\n\n") if event]
    if not events or events[-1] != b"[DONE]":
        raise ValueError(f"a stream broke off after {len(events)} events")
    choices = [choice for event in events[:-1] for choice in json.loads(event).get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@contextmanager
def clients(address: str, model: str, questions: dict[str, str]) -> Iterator[list[Client]]:
    """One of each kind, asking until the end of the block."""
    made = [
        Client(address, model, questions, keeps=keeps, streams=streams)
        for keeps in (True, False)
        for streams in (True, False)
    ]
    threads = [threading.Thread(target=client.run, daemon=True) for client in made]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        for client in made:
            client.over.set()
        for thread in threads:
            thread.join(TIMEOUT)
