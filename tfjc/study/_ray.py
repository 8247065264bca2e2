"""Runs of a study as tasks of a Ray cluster, whose nodes share the study's directory."""

import os
import signal

import ray

from tfjc.study import _local


class Ray:
    """Runs commands as Ray tasks, each with CPU cores and GPUs of its own; tasks of a node that dies start again.

    Connects to `RAY_ADDRESS`, or starts Ray on this machine.
    """

    def __init__(self, jobs=None, *, gpus=0.0, cpus=1.0):
        ray.init(ignore_reinit_error=True, log_to_driver=False)
        total = ray.cluster_resources()
        fitting = [total.get("CPU", 0.0) / cpus if cpus else None, total.get("GPU", 0.0) / gpus if gpus else None]
        room = min((int(number) for number in fitting if number is not None), default=1)
        if room < 1:
            raise ValueError(f"no run fits into the cluster: it needs {cpus} CPU and {gpus} GPU, found {total}")
        self.jobs = jobs or room
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 3, "retry_exceptions": False}
        self._task = ray.remote(**options)(_execute)
        self._threads, self._running = max(1, int(cpus)), {}

    def start(self, key, command, log):
        """Starts a command under a key; its output is added to the file `log`."""
        self._running[key] = self._task.remote(command, os.path.abspath(log), os.getcwd(), self._threads)

    def poll(self):
        """{key: exit status} of the commands that have ended since the last call; waits a little if none has."""
        done, _ = ray.wait(list(self._running.values()), num_returns=len(self._running), timeout=0.2)
        ended = {key: _status(task) for key, task in self._running.items() if task in done}
        for key in ended:
            del self._running[key]
        return ended

    def interrupt(self):
        """Interrupts what is running and waits until it has ended."""
        for task in self._running.values():
            ray.cancel(task)  # KeyboardInterrupt in the task
        if self._running:
            ray.wait(list(self._running.values()), num_returns=len(self._running), timeout=2 * _local.PATIENCE)
        self._running.clear()


def _status(task):
    try:
        return ray.get(task)
    except ray.exceptions.RayError:  # its node died more often than Ray tries again
        return -signal.SIGKILL


def _execute(command, log, folder, threads):
    running = _local.process(command, log, threads, folder)
    try:
        return running.wait()
    except KeyboardInterrupt:
        _local.stop([running])
        return running.wait()
