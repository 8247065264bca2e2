"""The records of a study's runs, and their final numbers."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfjc.study import _configuration
from tfjc.support.files import is_score

if TYPE_CHECKING:
    from tfjc.study._plan import Run, Study, StudyDirectory

_PLAIN = (
    *("median_log_condition", "mean_log_condition", "infinite_latents", "rank", "nonzero_log_condition", "log_scale"),
    *("participation_ratio", "clamped_low", "clamped_high", "sigma_max", "sigma_min"),
)
_QUANTILES = ("0.05", "0.5", "0.95")
CONDITIONS = ("median_log_condition", "mean_log_condition", "infinite_latents")
_QUOTIENT = "quotient_"  # begins the name of a quantile of Q, as in quotient_0.5
LOWER_IS_BETTER = ("frechet_distance", "fid", "kid", "kernel_distance", "missing_classes", "kl_to_uniform")


@dataclasses.dataclass(frozen=True)
class Recorded:
    """The records of a run.

    Attributes:
      run: the run.
      about: content of `run.json`.
      rows: rows of `metrics.jsonl`.
      damage: why the records cannot be used, or None. Such a run has no `about` and no `rows`.
    """

    run: "Run"
    about: dict[str, Any]
    rows: list[dict[str, Any]]
    damage: str | None = None

    @property
    def status(self) -> str:
        """As `_plan.Run.status`."""
        return "damaged" if self.damage else self.about.get("status", "waiting")

    @property
    def has_outcome(self) -> bool:
        """Whether the run diverged, ended for a collapse, or finished with records. Only such runs count."""
        return self.status in ("diverged", "collapsed") or (self.status == "finished" and bool(self.rows))

    @property
    def trained(self) -> list[dict[str, Any]]:
        """The rows after step 0. The row of step 0 is of an untrained network, and no outcome of a run."""
        return [row for row in self.rows if row["step"] > 0]

    def series(self, name: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """(steps, values) of a recorded number."""
        taken = [(row["step"], value) for row in self.rows if (value := _value(row, name)) is not None]
        return tuple(step for step, _ in taken), tuple(value for _, value in taken)

    def last(self, name: str) -> float:
        """The newest recorded value of a number after step 0, or nan."""
        return _first(self.trained[::-1], name)

    def final(self, name: str) -> float:
        """The value of a number in the last record after step 0, or nan."""
        return _first(self.trained[-1:], name)

    def outcome(self, name: str) -> float:
        """The value of a number, or nan.

        NAME@STEP is the value at one step. NAME is the value at the end: conditioning at the last record, other numbers
        at the last record that has them.
        """
        name, _, step = name.partition("@")
        if step:
            return _first([row for row in self.rows if row["step"] == int(step)], name)
        return self.final(name) if name in CONDITIONS else self.last(name)

    @functools.cached_property
    def configuration(self) -> _configuration.Configuration | None:
        """The run's configuration; None if `run.json` has no bindings."""
        return _configuration.read(self.about)

    @property
    def went_on_with_another(self) -> bool:
        """Whether the run was resumed with a changed configuration (`--force`)."""
        return any(session.get("changed") for session in self.about.get("sessions", []))

    @functools.cached_property
    def spectrum(self) -> np.ndarray | None:
        """The newest spectrum of the average Jacobian [n_z]; None if there is none after step 0 or it is damaged."""
        steps = self.run.directory.spectrum_steps()
        try:
            return self.run.directory.read_spectrum(steps[-1])["average_jacobian"] if steps and steps[-1] else None
        except ValueError:
            return None

    def histogram(self) -> list[int] | None:
        """The newest class histogram, of up to 360 samples; None if none was recorded after step 0."""
        found = [row["class_histogram"] for row in self.trained if "class_histogram" in row]
        return found[-1] if found else None


def read(directory: "StudyDirectory", study: "Study") -> list[Recorded]:
    """The records of every run of a study, in the order of its runs."""
    return [_recorded(run) for run in directory.list_runs(study)]


def _recorded(run):
    status, damage = run.status(), run.damage()
    if damage:
        return Recorded(run, {"status": status}, [], damage)
    return Recorded(run, {**run.directory.read_run(), "status": status}, run.directory.read_metrics())


def _value(row, name):
    """A number of a row, or None. quotient_0.5 is the quantile 0.5 of Q."""
    value = row.get(name)
    if name.startswith(_QUOTIENT):
        value = row.get("quotient_quantiles", {}).get(name.removeprefix(_QUOTIENT))
    return float(value) if isinstance(value, (int, float)) else None


def _first(rows, name):
    """The number in the first of the rows that has it, or nan."""
    return next((value for row in rows if (value := _value(row, name)) is not None), math.nan)


def names(recorded: Sequence[Recorded]) -> list[str]:
    """The names of all numbers that any run recorded, in the order of the records; of scores the plain names."""
    rows = [row for run in recorded for row in run.rows]
    found = {name: None for row in rows for name in row if "/" not in name and _value(row, name) is not None}
    quantiles = {f"{_QUOTIENT}{q}": None for row in rows for q in row.get("quotient_quantiles", {})}
    return [*found, *quantiles]


def scores(recorded: Sequence[Recorded]) -> list[str]:
    """The plain names of the scores that any run recorded, in the order of the records."""
    keys = [key for run in recorded for row in run.rows for key in row if not isinstance(row[key], list)]
    return list(dict.fromkeys(key.partition("/")[0] for key in filter(is_score, keys)))


def results(recorded: Sequence[Recorded]) -> list[dict[str, Any]]:
    """A row for every run: arm, seed, status, step, last value of every number; no times, which differ every time."""
    plain = [name for name in _PLAIN if any(run.series(name)[0] for run in recorded)]
    names = [*plain, *scores(recorded)]
    return [
        {
            "arm": run.run.arm,
            "seed": run.run.seed,
            "status": run.status,
            "step": run.rows[-1]["step"] if run.rows else 0,
            **{name: run.last(name) for name in names},
            **{f"{_QUOTIENT}{q}": run.last(f"{_QUOTIENT}{q}") for q in _QUANTILES},
        }
        for run in recorded
    ]


def condition(recorded: Sequence[Recorded]) -> str:
    """The log-condition number in claims: the median over latents, or the mean if a run lacks the median."""
    counted = [run.trained[-1] for run in recorded if run.has_outcome and run.trained]
    has_median = all("median_log_condition" in row for row in counted)
    return "median_log_condition" if has_median else "mean_log_condition"
