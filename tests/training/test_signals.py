"""Signals that ask a trial to stop."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lossarium.training import signals
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


def test_a_first_signal_is_answered_by_a_thread_while_the_main_thread_computes(monkeypatch):
    monkeypatch.setattr(signals, "_SECONDS_IN_SILENCE", 0.05)
    told, threads, answered = [], [], threading.Event()

    def tell(sentence):
        told.append(sentence)
        threads.append(threading.current_thread())
        answered.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with listening(tell) as request:
            signal.raise_signal(signal.SIGINT)
            assert answered.wait(60)
            assert request.number == signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)
    (sentence,) = told
    assert sentence.endswith("is still computed; Ctrl-C again ends it at once, without saving")
    assert threads != [threading.main_thread()]


def test_a_run_that_stops_at_once_has_nothing_to_announce(monkeypatch):
    monkeypatch.setattr(signals, "_SECONDS_IN_SILENCE", 3600.0)
    told = []
    with listening(told.append):
        os.kill(os.getpid(), signal.SIGTERM)
    assert told == []


def test_a_second_signal_ends_a_process_that_computes():
    """A main thread that runs no Python for a long time, as in a backward pass of a large model."""
    child = """
from lossarium.training.signals import listening
with listening():
    print("computing", flush=True)
    import torch
    # One operation of minutes, during which Python runs no handler.
    a = torch.zeros(1 << 14, 1 << 14)
    torch.mm(a, a)
    torch.mm(a, a)
"""
    process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "computing\n"
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (128 + signal.SIGTERM, -signal.SIGTERM)
    process.stdout.close()
