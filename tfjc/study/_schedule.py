"""Brings every run of a study to an outcome."""

import collections
import re

from tfjc.study import _plan

_MISTAKE = 2  # the exit status of a run that was configured wrongly: trying again would change nothing


class Schedule:
    """Starts the runs of a study that have no outcome yet, and again those that fail, up to `retries` times each.

    Attributes:
      runs: every `_plan.Run` of the study.
      waiting, running: runs that are to be started, and that are.
      failed: {run: why it has no outcome}.
    """

    def __init__(self, study, runs, executor, *, retries=2, options=(), report=print):
        self.runs, self.failed, self.running = runs, {}, []
        self.waiting = collections.deque(run for run in runs if not run.is_over())
        self._study, self._executor, self._retries = study, executor, retries
        self._options, self._report, self._failures = options, report, collections.Counter()

    @property
    def over(self):
        """The runs that have an outcome."""
        pending = {run.name for run in (*self.waiting, *self.running, *self.failed)}
        return [run for run in self.runs if run.name not in pending]

    def advance(self):
        """Starts what there is room for, and looks what has ended; False when there is nothing more to do."""
        while self.waiting and len(self.running) < self._executor.jobs:
            self._start(self.waiting.popleft())
        if self.running:
            for run, status in self._executor.poll().items():
                self.running.remove(run)
                self._end(run, status)
        return bool(self.waiting or self.running)

    def _start(self, run):
        self.running.append(run)
        self._report(f"{'resumes' if run.status() != 'waiting' else 'starts'} {run.name}")
        self._executor.start(run, _plan.command(self._study, run, self._options), run.log)

    def _end(self, run, status):
        if run.is_over():
            self._report(f"{run.status()} {run.name}, {len(self.over)} of {len(self.runs)} over")
        elif status != _MISTAKE and self._failures[run.name] < self._retries:
            self._failures[run.name] += 1
            self.waiting.append(run)
            self._report(f"failed {run.name} ({_why(run, status)}), to be tried again")
        else:
            self.failed[run] = _why(run, status)
            self._report(f"failed {run.name} ({self.failed[run]}), given up; see {run.log}")


def _why(run, status):
    """Why a process ended: the signal, or the last telling line of its log."""
    if status < 0:
        return f"killed by signal {-status}"
    lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines() if run.log.exists() else []
    telling = [line.strip() for line in lines if line.strip() and not re.match(r"[IWE]\d{4}|WARNING|\s", line)]
    return telling[-1][:200] if telling else f"exit status {status}"


def progress(run):
    """(newest recorded step, steps in all or None, seconds that are left or None) of a run."""
    rows = run.directory.read_metrics()
    step, seconds = (rows[-1]["step"], rows[-1]["seconds"]) if rows else (0, 0.0)
    steps = (run.directory.read_run().get("bindings") or {}).get("train_and_evaluate.steps")
    return step, steps, seconds / step * (steps - step) if steps and step else None
