"""Orders share batches, leave when they are done or given up, and never wait for ever."""

import threading
from dataclasses import dataclass, field

import pytest

from plumbline_trainer.engine.orders import EngineStopped, Finish, Order, Piece, QueueFull, Ticket
from plumbline_trainer.engine.scheduler import Scheduler
from tests.support.scripted_decoding import END, ScriptedDecoding, byte_tokenizer, script


@dataclass
class Client:
    """Collects the pieces of one answer."""

    pieces: list[Piece] = field(default_factory=list)
    first: threading.Event = field(default_factory=threading.Event)
    last: threading.Event = field(default_factory=threading.Event)

    def deliver(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.first.set()
        if piece.last:
            self.last.set()

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


def scheduler(decoding: ScriptedDecoding, *, max_batch: int = 8, max_queue: int = 100) -> Scheduler:
    return Scheduler(decoding, byte_tokenizer(), frozenset({END}), max_batch=max_batch, max_queue=max_queue)


def order(text: str, *, max_tokens: int = 100, stop: tuple[str, ...] = (), stream: bool = False) -> Order:
    return Order(script(text), max_tokens, stop=stop, stream=stream)


def serve(engine: Scheduler, orders: list[Order]) -> list[Client]:
    """Put all orders, then run until they are answered."""
    clients = [Client() for _ in orders]
    for one, client in zip(orders, clients, strict=True):
        engine.submit(Ticket(one, client.deliver))
    engine.stop()
    engine.run()
    return clients


def test_each_client_gets_its_own_text_whoever_shares_the_batch() -> None:
    texts = [f"answer {'x' * number} of {number}" for number in range(30)]
    decoding = ScriptedDecoding()
    clients = serve(scheduler(decoding), [order(text) for text in texts])
    assert [client.text for client in clients] == texts
    assert all(client.pieces[-1].finish is Finish.STOP for client in clients)
    assert max(decoding.sizes) <= 8


def test_a_stream_delivers_the_same_text_piece_by_piece() -> None:
    whole, streamed = serve(scheduler(ScriptedDecoding()), [order("日本 text"), order("日本 text", stream=True)])
    assert len(whole.pieces) == 1
    assert len(streamed.pieces) > 5
    assert whole.text == streamed.text == "日本 text"


def test_an_answer_at_its_limit_ends_with_length_and_counts_its_tokens() -> None:
    (client,) = serve(scheduler(ScriptedDecoding()), [order("abcdef", max_tokens=3)])
    assert client.pieces == [Piece("abc", 3, Finish.LENGTH)]


def test_one_token_is_enough_to_end() -> None:
    ended, limited = serve(scheduler(ScriptedDecoding()), [order(""), order("abc", max_tokens=1)])
    assert ended.pieces == [Piece("", 1, Finish.STOP)]
    assert limited.pieces == [Piece("a", 1, Finish.LENGTH)]


def test_a_stop_string_ends_an_answer_and_is_not_part_of_it() -> None:
    (client,) = serve(scheduler(ScriptedDecoding()), [order("one\ntwo", stop=("\n",))])
    assert (client.text, client.pieces[-1].finish) == ("one", Finish.STOP)


def test_a_cancelled_answer_frees_its_row() -> None:
    decoding = ScriptedDecoding()
    engine = scheduler(decoding)
    gone, stays = Client(), Client()
    ticket = Ticket(order("x" * 90, stream=True), gone.deliver)
    engine.submit(ticket)
    engine.submit(Ticket(order("y" * 60), stays.deliver))
    gone.deliver = lambda piece: ticket.cancel()  # type: ignore[method-assign]  # the client leaves at its first piece
    ticket.deliver = gone.deliver
    engine.stop()
    engine.run()
    assert stays.text == "y" * 60
    assert decoding.sizes[-1] == 1


def test_a_cancelled_order_that_waits_is_never_computed() -> None:
    decoding = ScriptedDecoding()
    engine = scheduler(decoding)
    ticket = Ticket(order("never"), Client().deliver)
    engine.submit(ticket)
    ticket.cancel()
    engine.stop()
    engine.run()
    assert decoding.admitted == []


def test_newcomers_join_a_running_batch_before_it_ends() -> None:
    decoding = ScriptedDecoding()
    decoding.gate.clear()
    engine = scheduler(decoding)
    long, late = Client(), Client()
    engine.submit(Ticket(order("l" * 80, stream=True), long.deliver))
    thread = threading.Thread(target=engine.run)
    thread.start()
    assert long.first.wait(5)
    engine.submit(Ticket(order("late"), late.deliver))
    decoding.gate.set()
    assert late.last.wait(5)
    assert long.last.wait(5)
    engine.stop()
    thread.join(5)
    assert (long.text, late.text) == ("l" * 80, "late")
    assert 2 in decoding.sizes


def test_the_queue_is_bounded() -> None:
    engine = scheduler(ScriptedDecoding(), max_queue=2)
    for _ in range(2):
        engine.submit(Ticket(order("a"), Client().deliver))
    with pytest.raises(QueueFull):
        engine.submit(Ticket(order("a"), Client().deliver))


def test_a_stopped_engine_accepts_nothing() -> None:
    engine = scheduler(ScriptedDecoding())
    engine.stop()
    with pytest.raises(EngineStopped):
        engine.submit(Ticket(order("a"), Client().deliver))


def test_a_failing_model_fails_every_open_answer_and_ends_the_loop() -> None:
    decoding = ScriptedDecoding()
    decoding.broken = True
    engine = scheduler(decoding, max_batch=1)
    clients = [Client(), Client()]
    for client in clients:
        engine.submit(Ticket(order("abc"), client.deliver))
    with pytest.raises(RuntimeError, match="scripted failure"):
        engine.run()
    assert all(client.pieces[-1].failed for client in clients)
    with pytest.raises(EngineStopped):
        engine.submit(Ticket(order("a"), Client().deliver))
