"""Runs of a study as tasks of a Ray cluster, whose nodes share the study's directory."""

import os
import signal
from collections.abc import Hashable, Sequence
from typing import Any

import ray

from tfjc.study import _local


class Ray:
    """Executes commands as Ray tasks, each with CPU cores and GPUs of its own. Ray restarts the tasks of a lost node.

    It connects to `RAY_ADDRESS`, or starts Ray on this machine.

    Args:
      jobs: commands at once; by default as many as fit into the cluster.
      gpus, cpus: of each command.

    Raises:
      ValueError: the cluster is too small for one command.
    """

    def __init__(self, jobs: int | None = None, *, gpus: float = 0.0, cpus: float = 1.0) -> None:
        ray.init(ignore_reinit_error=True, log_to_driver=False)
        total = ray.cluster_resources()
        fitting = [total.get("CPU", 0.0) / cpus if cpus else None, total.get("GPU", 0.0) / gpus if gpus else None]
        room = min((int(number) for number in fitting if number is not None), default=1)
        if room < 1:
            raise ValueError(f"no run fits into the cluster: it needs {cpus} CPU and {gpus} GPU, found {total}")
        self.jobs = jobs or room
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 3, "retry_exceptions": False}
        self._task = ray.remote(**options)(_execute)
        self._threads = max(1, int(cpus))
        self._running: dict[Any, Any] = {}

    def start(self, key: Hashable, command: Sequence[str], log: str | os.PathLike) -> None:
        """Starts a command under a key; its output is appended to the file `log`."""
        self._running[key] = self._task.remote(command, os.path.abspath(log), os.getcwd(), self._threads)

    def poll(self) -> dict[Any, int]:
        """Waits up to 0.2 s; returns {key: exit status} of the commands that have ended since the last call."""
        done, _ = ray.wait(list(self._running.values()), num_returns=len(self._running), timeout=0.2)
        ended = {key: _status(task) for key, task in self._running.items() if task in done}
        for key in ended:
            del self._running[key]
        return ended

    def interrupt(self) -> None:
        """Interrupts all running commands, and waits until they have ended."""
        for task in self._running.values():
            ray.cancel(task)  # raises KeyboardInterrupt in the task
        if self._running:
            ray.wait(list(self._running.values()), num_returns=len(self._running), timeout=2 * _local.PATIENCE)
        self._running.clear()


def _status(task):
    try:
        return ray.get(task)
    except ray.exceptions.RayError:  # nodes were lost more often than `max_retries`
        return -signal.SIGKILL


def _execute(command, log, folder, threads):
    running = _local.process(command, log, threads, folder)
    try:
        return running.wait()
    except KeyboardInterrupt:
        _local.stop([running])
        return running.wait()
