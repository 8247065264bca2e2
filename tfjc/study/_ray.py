"""Runs of a study as tasks of a Ray cluster, whose nodes share the study's directory."""

import os
import re
import signal
import socket
import time
from collections.abc import Hashable, Sequence
from typing import Any

from tfjc.study import _local
from tfjc.study._schedule import Ended

_ANSWER = 10.0  # seconds in which a cluster must answer


class Ray:
    """Executes commands as Ray tasks, each with CPU cores and GPUs of its own. Ray restarts the tasks of a lost node.

    It connects to `RAY_ADDRESS`, or starts Ray on this machine.

    Args:
      jobs: commands at once; by default as many as fit into the cluster.
      gpus, cpus: of each command.

    Raises:
      ValueError: Ray is not installed, no cluster answers, or the cluster is too small for one command.
    """

    def __init__(self, jobs: int | None = None, *, gpus: float = 0.0, cpus: float = 1.0) -> None:
        try:
            import ray
        except ImportError as error:
            raise ValueError(f"--executor=ray needs Ray: pip install 'tfjc[ray]' ({error})") from error
        _check_answer(os.environ.get("RAY_ADDRESS", ""))
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(ignore_reinit_error=True, log_to_driver=False)
        except (ConnectionError, RuntimeError) as error:
            raise ValueError(f"no Ray cluster can be used: {' '.join(str(error).split())}") from error
        finally:
            signal.signal(signal.SIGTERM, handler)  # Ray's own would end the study and leave its runs
        total = ray.cluster_resources()
        fitting = [total.get("CPU", 0.0) / cpus if cpus else None, total.get("GPU", 0.0) / gpus if gpus else None]
        room = min((int(number) for number in fitting if number is not None), default=1)
        if room < 1:
            raise ValueError(f"no run fits into the cluster: it needs {cpus} CPU and {gpus} GPU, found {total}")
        self.jobs = jobs or room
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 3, "retry_exceptions": False}
        self._ray, self._task = ray, ray.remote(**options)(_execute)
        self._threads = max(1, int(cpus))
        self._running: dict[Any, Any] = {}

    def start(self, key: Hashable, command: Sequence[str], log: str | os.PathLike) -> None:
        """Starts a command under a key; its output is appended to the file `log`, whose folder must exist."""
        self._running[key] = self._task.remote(command, os.path.abspath(log), os.getcwd(), self._threads)

    def poll(self) -> dict[Any, Ended]:
        """Waits up to 0.2 s; returns {key: how it ended} of the commands that have ended since the last call."""
        done, _ = self._ray.wait(list(self._running.values()), num_returns=len(self._running), timeout=0.2)
        ended = {key: self._end(task) for key, task in self._running.items() if task in done}
        for key in ended:
            del self._running[key]
        return ended

    def interrupt(self) -> None:
        """Asks all running commands to end, and waits until they have ended."""
        for task in self._running.values():
            self._ray.cancel(task)  # raises KeyboardInterrupt in the task
        if self._running:
            tasks = list(self._running.values())
            self._ray.wait(tasks, num_returns=len(tasks), timeout=_local.PATIENCE + 10.0)
        self._running.clear()

    def _end(self, task):
        try:
            return Ended(*self._ray.get(task))
        except self._ray.exceptions.RayTaskError as error:
            return Ended(1, f"its task failed: {' '.join(str(error.cause).split())}")
        except self._ray.exceptions.RayError as error:  # nodes were lost more often than `max_retries`
            return Ended(-signal.SIGKILL, f"its node was lost ({type(error).__name__})")


def _check_answer(address):
    """Raises ValueError where nothing answers at HOST:PORT. Ray itself would wait for minutes."""
    place = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if not place:
        return
    try:
        socket.create_connection((place[1].strip("[]"), int(place[2])), timeout=_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"no Ray cluster answers at RAY_ADDRESS={address} within {_ANSWER:.0f} s: {error}") from error


def _execute(command, log, folder, threads):
    """(exit status, why the command could not be started or "") of a command on a node of the cluster."""
    for place in (folder, os.path.dirname(log)):
        if not os.path.isdir(place):
            return 1, f"{socket.gethostname()} has no folder {place}: all nodes must share it"
    running = _local.process(command, log, threads, folder)
    try:
        while running.poll() is None:  # `wait` would not notice that the task is cancelled
            time.sleep(0.2)
    except KeyboardInterrupt:
        _local.stop([running])
    return running.wait(), ""
