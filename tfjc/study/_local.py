"""Runs of a study as processes on this machine."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time

PATIENCE = 40.0  # seconds that an interrupted run has to write its last records


class Local:
    """Runs commands as processes, so many at once, the threads of this machine divided among them."""

    def __init__(self, jobs=None):
        cores = len(os.sched_getaffinity(0))
        self.jobs = jobs or cores
        self._threads, self._running = max(1, cores // self.jobs), {}

    def start(self, key, command, log):
        """Starts a command under a key; its output is added to the file `log`."""
        self._running[key] = process(command, log, self._threads)

    def poll(self):
        """{key: exit status} of the commands that have ended since the last call; waits a little if none has."""
        time.sleep(0.2)
        ended = {key: process.poll() for key, process in self._running.items() if process.poll() is not None}
        for key in ended:
            del self._running[key]
        return ended

    def interrupt(self):
        """Interrupts what is running, as Ctrl-C would, and waits until it has ended."""
        stop(self._running.values())
        self._running.clear()


def stop(processes):
    """Interrupts processes, again after half of `PATIENCE` (an import can swallow it), and then kills them."""
    for send in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
        for running in processes:
            with contextlib.suppress(ProcessLookupError):
                running.send_signal(send)
        deadline = time.monotonic() + PATIENCE / 2
        for running in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(max(0.0, deadline - time.monotonic()))


def process(command, log, threads, folder=None):
    """Starts a command with so many threads, in `folder`, its output added to the file `log`.

    It dies with its parent, however that ends: nothing goes on writing into a run that will be resumed.
    """
    os.makedirs(os.path.dirname(os.path.abspath(log)), exist_ok=True)
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    with open(log, "ab") as stream:
        return subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, **dict.fromkeys(names, str(threads))},
            start_new_session=True,  # Ctrl-C reaches it through its executor alone
            preexec_fn=_die_with_parent,
        )


def _die_with_parent():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
