"""Signals that ask a command to end."""

import os
import signal

import pytest

from tfjc.support import interrupts


@pytest.fixture(autouse=True)
def installed():
    before = {number: signal.getsignal(number) for number in interrupts._signals()}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what runs in the background ignore it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup lets what it starts ignore it
    interrupts.install()
    yield
    interrupts.install()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_is_raised_once_and_remembered(number, status):
    interrupts.check()
    assert interrupts.received() is None
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    assert (interrupts.received(), interrupts.status()) == (number, status)
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()


def test_what_is_held_is_remembered_and_the_first_signal_counts():
    with interrupts.held():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.status() == 143
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)  # as before


def test_a_destructor_swallows_no_signal(capsys):
    class Closing:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)

    Closing()
    assert interrupts.status() == 130
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()


def test_what_is_ignored_stays_ignored():
    """As by nohup, or by a shell for what it starts in the background."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupts.install()
    os.kill(os.getpid(), signal.SIGHUP)
    assert interrupts.received() is None
    interrupts.ignore()
    os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.received() is None
