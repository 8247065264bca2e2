"""How a command line ends."""

import os
import re
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from tfjc.runs import commands
from tfjc.support import interrupts


@pytest.fixture
def signals():
    """The handlers of a command line, for this test."""
    before = {number: signal.getsignal(number) for number in interrupts._signals()}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what runs in the background ignore it
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


def test_home_is_expanded_in_the_values_of_flags(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for given, expected in {
        "--workdir=~/runs/x": "--workdir=/home/me/runs/x",
        "-workdir=~": "-workdir=/home/me",
        "--workdir=~nobody_at_all/x": "--workdir=~nobody_at_all/x",
        "--workdir=a~b": "--workdir=a~b",
        "--gin_bindings=a.b = '~/x'": "--gin_bindings=a.b = '~/x'",
        "~=~": "~=~",
        "-h": "--help",
        "--h=~": "--h=/home/me",
    }.items():
        assert commands._expanded(given) == expected


def test_values_of_inputs():
    found = commands._constants(["a=0.5", "b=-3", "c=true", "d=1,2.5", "e=1e-3"])
    assert found == {"a": 0.5, "b": -3, "c": True, "d": [1, 2.5], "e": 0.001}
    for wrong in ("a", "a=", "=1", "a=x", "a=[1]", 'a="1"', "a=1,", "a=null"):
        with pytest.raises(
            ValueError, match=re.escape(f"--set must be NAME=VALUE, a number, .*found {wrong!r}").replace(r"\.\*", ".*")
        ):
            commands._constants([wrong])


LAMBDA, INFINITY = "\u03bb", "\u221e"
PRINTS = f"""
import sys
from tfjc.runs import terminals
terminals.steady()
for _ in range(3):
    print("{LAMBDA} {INFINITY}" + 70_000 * "-", flush=True)
print("end", file=sys.stderr)
"""


@pytest.mark.parametrize(
    "shell, printed",
    [
        ("PYTHONIOENCODING=utf-8 PYTHON", f"{LAMBDA} {INFINITY}"),
        ("PYTHONIOENCODING=latin-1 PYTHON", r"\u03bb \u221e"),
        ("PYTHONIOENCODING=ascii:strict PYTHON", r"\u03bb \u221e"),
        ("PYTHON | head -c 4", ""),
        ("PYTHON >&-", ""),
        ("PYTHON <&- >&- 2>&-", ""),
        ("PYTHON > /dev/full 2> /dev/full", ""),
    ],
)
def test_no_terminal_ends_a_command(tmp_path, shell, printed):
    (tmp_path / "prints.py").write_text(PRINTS, encoding="utf-8")
    command = f"{sys.executable} {tmp_path / 'prints.py'}"
    line = "set -o pipefail; " + re.sub(r"PYTHON(?=$| )", command, shell)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0"}
    done = subprocess.run(["bash", "-c", line], capture_output=True, env=environment, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert printed in done.stdout.decode(errors="replace")
