"""The progress of a study: a live table on a terminal, or else a line for every change."""

import contextlib
import datetime
import time
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from tfjc.study import _schedule


@contextlib.contextmanager
def display(title: object) -> "Iterator[Lines | LiveTable]":
    """A context with a `LiveTable` on a terminal, or else `Lines`."""
    console = Console()
    if not console.is_terminal:
        yield Lines()
        return
    with Live(console=console, auto_refresh=False) as live:
        yield LiveTable(live, title)


class Lines:
    """Prints every message as a line."""

    def report(self, message: str) -> None:
        """Prints a message with the time."""
        print(f"{datetime.datetime.now():%H:%M:%S} {message}", flush=True)

    announce = report

    def show(self, schedule: _schedule.Schedule) -> None:
        """Does nothing: messages report every change."""


class LiveTable:
    """A table of the current runs with step and time left, and the numbers of runs over, running, waiting, failed."""

    def __init__(self, live: Live, title: object) -> None:
        self._live, self._title, self._message, self._drawn = live, title, "", 0.0

    def report(self, message: str) -> None:
        """Keeps the newest message for the table's caption."""
        self._message = message

    def announce(self, message: str) -> None:
        """Prints a message above the table, where it stays."""
        self._live.console.print(message)

    def show(self, schedule: _schedule.Schedule) -> None:
        """Draws the table, at most once a second."""
        if time.monotonic() - self._drawn < 1.0:
            return
        self._drawn = time.monotonic()
        table = Table(title=str(self._title), caption=self._message)
        for column in ("run", "step", "left"):
            table.add_column(column, justify="left" if column == "run" else "right")
        for run in schedule.running:
            step, steps, left = _schedule.progress(run)
            table.add_row(run.name, f"{step} of {steps or '?'}", "?" if left is None else _schedule.duration(left))
        parts = {"over": schedule.over, "running": schedule.running, "waiting": schedule.waiting}
        counts = {**{name: len(runs) for name, runs in parts.items()}, "failed": len(schedule.failed)}
        self._live.update(Group(table, ", ".join(f"{count} {name}" for name, count in counts.items())), refresh=True)
