"""Ctrl-C, SIGTERM and SIGHUP end a command line in order, whatever it is doing.

The handler raises KeyboardInterrupt, and remembers the signal. TensorFlow can turn that exception into another one, and
a destructor can swallow it; `received` and `check` then tell that the process was asked to stop.
"""

import contextlib
import signal
import sys
from collections.abc import Iterator

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class _State:
    received: int | None = None
    held = 0


def install() -> None:
    """Sets the handlers. A signal that the process ignores (as under nohup) stays ignored."""
    _State.received, _State.held = None, 0
    for number in _signals():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    sys.unraisablehook = _report_unraisable


def ignore() -> None:
    """Ignores the signals from here on, since the process is about to end."""
    for number in _signals():
        signal.signal(number, signal.SIG_IGN)


def received() -> int | None:
    """The first signal that was received since `install`, or None."""
    return _State.received


def check() -> None:
    """Raises KeyboardInterrupt if a signal was received."""
    if received() is not None:
        raise KeyboardInterrupt


def status() -> int:
    """The exit status of an interrupted process: 128 + the signal, so 130 after Ctrl-C and 143 after SIGTERM."""
    return 128 + (received() or signal.SIGINT)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """A context in which signals are remembered and raise nothing, so that last records can be written."""
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1


def _signals():
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _handle(number, frame):
    _State.received = _State.received or number
    if not _State.held:
        raise KeyboardInterrupt


def _report_unraisable(unraisable):
    """Python's own hook, but for a KeyboardInterrupt in a destructor, which `received` remembers."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
