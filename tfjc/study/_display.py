"""What a study shows while it runs: a live table on a terminal, a line for every change elsewhere."""

import contextlib
import datetime
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from tfjc.study import _schedule


@contextlib.contextmanager
def display(title):
    """A `Lines` or, on a terminal, a `LiveTable`."""
    console = Console()
    if not console.is_terminal:
        yield Lines()
        return
    with Live(console=console, auto_refresh=False) as live:
        yield LiveTable(live, title)


class Lines:
    """Prints what changes."""

    def report(self, message):
        """Prints a message with the time."""
        print(f"{datetime.datetime.now():%H:%M:%S} {message}", flush=True)

    def show(self, schedule):
        """Nothing: what there is to say has been reported."""


class LiveTable:
    """Runs that are running, with step and time left, and how many are over, waiting and failed."""

    def __init__(self, live, title):
        self._live, self._title, self._message, self._drawn = live, title, "", 0.0

    def report(self, message):
        """Keeps the newest message for the table's caption."""
        self._message = message

    def show(self, schedule):
        """Draws the table, at most once a second."""
        if time.monotonic() - self._drawn < 1.0:
            return
        self._drawn = time.monotonic()
        table = Table(title=str(self._title), caption=self._message)
        for column in ("run", "step", "left"):
            table.add_column(column, justify="left" if column == "run" else "right")
        for run in schedule.running:
            step, steps, left = _schedule.progress(run)
            table.add_row(run.name, f"{step} of {steps or '?'}", _duration(left))
        counts = {"over": schedule.over, "running": schedule.running, "waiting": schedule.waiting}
        counts["failed"] = schedule.failed
        self._live.update(Group(table, ", ".join(f"{len(runs)} {name}" for name, runs in counts.items())), refresh=True)


def _duration(seconds):
    return "?" if seconds is None else str(datetime.timedelta(seconds=round(seconds)))
