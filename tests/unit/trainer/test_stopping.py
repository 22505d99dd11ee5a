"""SIGTERM: at once where nothing is lost, later while training, and only once."""

import os
import signal
from collections.abc import Iterator

import pytest

from plumbline_trainer.failures import Preempted
from plumbline_trainer.stopping import StopSwitch


@pytest.fixture
def switch() -> Iterator[StopSwitch]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop = StopSwitch()
    stop.install()
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_stops_at_once_even_past_an_except_of_everything(switch: StopSwitch) -> None:
    def swallow() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:  # noqa: BLE001  # stands for a library that swallows what it should not
            pytest.fail("Preempted must pass `except Exception`")

    with pytest.raises(Preempted):
        swallow()
    assert switch.requested


def test_while_deferred_a_signal_is_only_noted(switch: StopSwitch) -> None:
    with switch.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        assert switch.requested
    with pytest.raises(Preempted):
        switch.check()


def test_a_second_signal_does_not_interrupt_the_cleaning_up(switch: StopSwitch) -> None:
    with pytest.raises(Preempted):
        os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)


def test_without_a_signal_work_goes_on(switch: StopSwitch) -> None:
    switch.check()
