"""Runs of a study as processes on this machine."""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Hashable, Sequence
from typing import Any

from tfjc.study._schedule import Ended

PATIENCE = 40.0  # seconds in which an interrupted run can write its last records


class Local:
    """Executes commands as processes, up to `jobs` at once. They share the cores of this machine evenly."""

    def __init__(self, jobs: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0))
        self.jobs = jobs or cores
        self._threads = max(1, cores // self.jobs)
        self._running: dict[Any, subprocess.Popen] = {}

    def start(self, key: Hashable, command: Sequence[str], log: str | os.PathLike) -> None:
        """Starts a command under a key; its output is appended to the file `log`, whose folder must exist."""
        self._running[key] = process(command, log, self._threads)

    def poll(self) -> dict[Any, Ended]:
        """Waits 0.2 s; returns {key: how it ended} of the commands that have ended since the last call."""
        time.sleep(0.2)
        found = {key: process.poll() for key, process in self._running.items()}
        ended = {key: Ended(status) for key, status in found.items() if status is not None}
        for key in ended:
            del self._running[key]
        return ended

    def interrupt(self) -> None:
        """Asks all running commands to end, and waits until they have ended."""
        stop(self._running.values())
        self._running.clear()


def stop(processes: Collection[subprocess.Popen]) -> None:
    """Sends SIGTERM, which a process can take for `PATIENCE` seconds to write its last records; then SIGKILL.

    SIGINT would be ignored by what was started in the background.
    """
    for send in (signal.SIGTERM, signal.SIGKILL):
        for running in processes:
            with contextlib.suppress(ProcessLookupError):
                running.send_signal(send)
        deadline = time.monotonic() + PATIENCE
        for running in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(max(0.0, deadline - time.monotonic()))


def process(
    command: Sequence[str], log: str | os.PathLike, threads: int, folder: str | None = None
) -> subprocess.Popen:
    """Starts a command with `threads` threads in `folder`; its output is appended to the file `log`.

    The kernel kills the process when its parent ends for any reason. A run that will be resumed then has no second
    writer. The process has the niceness of this one, beside all processes of the machine.
    """
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    with open(log, "ab") as stream:
        return subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, **dict.fromkeys(names, str(threads))},
            start_new_session=True,  # Ctrl-C reaches only the executor, which interrupts the process
            preexec_fn=_prepare if sys.platform == "linux" else None,
        )


def _prepare():
    """Sets up a new process before its program starts. Both settings are Linux's."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    with contextlib.suppress(OSError):  # a kernel without autogroups has no such file
        # Linux shares processors among sessions first. Niceness counts only within a session, and this one is new.
        pathlib.Path("/proc/self/autogroup").write_text(str(os.nice(0)))
