"""How a command line ends."""

import os
import signal

import pytest

from tfjc.runs import commands
from tfjc.support import interrupts


@pytest.fixture
def signals():
    """The handlers of a command line, for this test."""
    before = {number: signal.getsignal(number) for number in interrupts._signals()}
    interrupts.install()
    yield
    interrupts.install()
    for number, handler in before.items():
        signal.signal(number, handler)


def stopped(error):
    """Work that is asked to end while TensorFlow turns KeyboardInterrupt into another error."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        raise error from None


def raised(error):
    raise error


@pytest.mark.parametrize(
    "work, status, message",
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (lambda: raised(ValueError("a mistake")), 2, "tfjc.x: a mistake\n"),
        (lambda: raised(OSError(28, "full", "file")), 2, "tfjc.x: [Errno 28] full: 'file'\n"),
        (lambda: os.kill(os.getpid(), signal.SIGINT), 130, "\ngoes on\n"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 143, "\ngoes on\n"),
        (lambda: stopped(RuntimeError("a graph")), 143, "\ngoes on\n"),
        (lambda: stopped(ValueError("an argument")), 143, "\ngoes on\n"),
    ],
)
def test_the_exit_status(signals, capsys, work, status, message):
    assert commands.status("x", work, ["x"], "goes on") == status
    assert capsys.readouterr().err == message


def test_other_errors_are_not_hidden(signals):
    with pytest.raises(ZeroDivisionError):
        commands.status("x", lambda: 1 // 0, ["x"])


def test_a_signal_before_the_work_is_not_lost(signals):
    with interrupts.held():
        os.kill(os.getpid(), signal.SIGTERM)
    assert commands.status("x", lambda: pytest.fail("begun"), ["x"]) == 143
