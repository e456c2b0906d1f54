"""Signals that ask a trial to stop."""

import os
import signal

import pytest

from lossarium.training.signals import listening


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_a_request_and_its_handler_comes_back(number):
    before = signal.getsignal(number)
    with listening() as request:
        assert request.number is None
        os.kill(os.getpid(), number)
        assert request.number == number
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_is_ignored_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with listening() as request:
            os.kill(os.getpid(), number)
            assert request.number is None
            assert signal.getsignal(number) is signal.SIG_IGN
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
