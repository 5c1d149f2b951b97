"""Signals that ask to stop."""

import os
import signal

import pytest

from medae.models.signals import STOP_SIGNALS, stop_requests


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_asks_and_does_not_interrupt(number):
    with stop_requests() as stop:
        assert stop() is None
        send(number)
        send(signal.SIGTERM)
        assert stop() == signal.Signals(number).name


def test_a_second_ctrl_c_interrupts_at_once():
    with stop_requests() as stop:
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert stop() == "SIGINT"


def test_the_handlers_of_before_come_back():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with pytest.raises(ValueError), stop_requests():
        assert all(callable(signal.getsignal(number)) for number in STOP_SIGNALS)
        raise ValueError
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before
