"""Brings every run of a study to an outcome."""

import collections
import json
import os
import re
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, Protocol

from tfjc.study import _plan
from tfjc.support.files import write_text

_MISTAKE = 2  # the exit status of a run that is configured wrongly; such a run is not retried


class Ended(NamedTuple):
    """How a command ended: its exit status, negative for a signal, and why, where the status does not tell."""

    status: int
    why: str = ""


class Executor(Protocol):
    """Executes commands, up to `jobs` at once."""

    jobs: int

    def start(self, key: Hashable, command: Sequence[str], log: str | os.PathLike) -> None:
        """Starts a command under a key; its output is appended to the file `log`, whose folder exists."""
        ...

    def poll(self) -> dict[Any, Ended]:
        """{key: how it ended} of the commands that have ended since the last call."""
        ...

    def interrupt(self) -> None:
        """Interrupts all running commands, and waits until they have ended."""
        ...


class Schedule:
    """Starts the runs of a study that have no outcome, and retries each failed run.

    Args:
      study: the study.
      runs: its runs.
      executor: executes their commands.
      retries: how often a failed run is tried again.
      options: flags of `tfjc.train` for all runs.
      report: takes a message about each change.

    Attributes:
      runs: every run of the study.
      waiting: runs that wait for their start.
      running: runs that have started and not ended.
      failed: {run: why it has no outcome}.
    """

    def __init__(
        self,
        study: _plan.Study,
        runs: list[_plan.Run],
        executor: Executor,
        *,
        retries: int = 2,
        options: Sequence[str] = (),
        report: Callable[[str], Any] = print,
    ) -> None:
        self.runs = runs
        self.running: list[_plan.Run] = []
        self.failed: dict[_plan.Run, str] = {}
        self.waiting = collections.deque(run for run in runs if not run.is_over())
        self._study, self._executor, self._retries = study, executor, retries
        self._options, self._report = options, report
        self._failures: collections.Counter[str] = collections.Counter()

    @property
    def over(self) -> list[_plan.Run]:
        """The runs that have an outcome."""
        pending = {run.name for run in (*self.waiting, *self.running, *self.failed)}
        return [run for run in self.runs if run.name not in pending]

    def advance(self) -> bool:
        """Starts as many waiting runs as the executor takes, and handles ended runs; returns False when all is done."""
        while self.waiting and len(self.running) < self._executor.jobs:
            self._start(self.waiting.popleft())
        if self.running:
            for run, ended in self._executor.poll().items():
                self.running.remove(run)
                self._end(run, ended)
        return bool(self.waiting or self.running)

    def _start(self, run):
        self.running.append(run)
        run.failure.unlink(missing_ok=True)
        self._report(f"{'resumes' if run.status() != 'waiting' else 'starts'} {run.name}")
        run.log.parent.mkdir(parents=True, exist_ok=True)
        self._executor.start(run, _plan.command(self._study, run, self._options), run.log)

    def _end(self, run, ended):
        if run.is_over():
            self._report(f"{run.status()} {run.name}, {len(self.over)} of {len(self.runs)} over")
        elif ended.status != _MISTAKE and self._failures[run.name] < self._retries:
            self._failures[run.name] += 1
            self.waiting.append(run)
            self._report(f"failed {run.name} ({_why(run, ended)}), to be tried again")
        else:
            self.failed[run] = _why(run, ended)
            kind = "refused" if ended.status == _MISTAKE else "killed" if ended.status < 0 else "failed"
            run.failure.parent.mkdir(parents=True, exist_ok=True)
            write_text(run.failure, json.dumps({"status": kind, "why": self.failed[run]}) + "\n")
            self._report(f"failed {run.name} ({self.failed[run]}), given up{_see(run)}")


def _why(run, ended):
    """Why a run has no outcome: as told, by its signal, or by its log's last line that is no warning or indented."""
    if ended.why:
        return ended.why
    if ended.status < 0:
        return f"killed by signal {-ended.status}"
    if ended.status == 0:
        return f"its process ended well and left no outcome in {run.directory.path}"
    lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines() if run.log.exists() else []
    telling = [line.strip() for line in lines if line.strip() and not re.match(r"[IWE]\d{4}|WARNING|\s", line)]
    return telling[-1][:200] if telling else f"exit status {ended.status}"


def _see(run):
    return f"; see {run.log}" if run.log.exists() else ""


def progress(run: _plan.Run) -> tuple[int, int | None, float | None]:
    """(newest recorded step, total steps or None, seconds left or None) of a run."""
    step, steps, total = _measured(run)
    return step, steps, None if total is None or steps is None else total * (1.0 - step / steps)


def cost(runs: Sequence[_plan.Run], jobs: int) -> str | None:
    """What the runs without an outcome will cost, as text; None if no run has records to measure it by.

    A run costs what the runs of its arm cost on average, or those of all arms if its own has no records: the recorded
    seconds of training and evaluation for each step, times all steps.

    Args:
      runs: every run of a study.
      jobs: runs at once.
    """
    measured = {run: _measured(run) for run in runs}
    by_arm: dict[str, list[float]] = {}
    for run, (_, _, total) in measured.items():
        if total is not None:
            by_arm.setdefault(run.arm, []).append(total)
    if not by_arm:
        return None
    means = {arm: sum(totals) / len(totals) for arm, totals in by_arm.items()}
    overall = sum(means.values()) / len(means)
    left = {
        run: means.get(run.arm, overall) * (1.0 - step / steps if steps else 1.0)
        for run, (step, steps, _) in measured.items()
        if not run.is_over()
    }
    count, seconds = sum(map(len, by_arm.values())), sum(left.values())
    together = f", or {duration(seconds / jobs)} with {jobs} at once" if jobs > 1 else ""
    return (
        f"{len(left)} of {len(runs)} runs are left, of {duration(overall)} each (measured on {count} of them): "
        f"{duration(seconds)}{together}; starting a run adds some seconds"
    )


def _measured(run):
    """(newest recorded step, total steps or None, seconds of the whole run or None); (0, None, None) where damaged."""
    if run.damage():
        return 0, None, None
    rows = run.directory.read_metrics()
    step, seconds = (rows[-1]["step"], rows[-1]["seconds"]) if rows else (0, 0.0)
    steps = (run.directory.read_run().get("bindings") or {}).get("train_and_evaluate.steps")
    return step, steps, seconds / step * steps if steps and step else None


def duration(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds, as text."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
