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
        """Whether the run finished or diverged, with records. Only such runs count."""
        return self.status in ("finished", "diverged") and bool(self.rows)

    def series(self, name: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """(steps, values) of a recorded number."""
        taken = [(row["step"], row[name]) for row in self.rows if isinstance(row.get(name), (int, float))]
        return tuple(step for step, _ in taken), tuple(value for _, value in taken)

    def last(self, name: str) -> float:
        """The newest recorded value of a number, or nan."""
        values = self.series(name)[1]
        return float(values[-1]) if values else math.nan

    def final(self, name: str) -> float:
        """The value of a number in the last record, or nan."""
        value = self.rows[-1].get(name) if self.rows else None
        return float(value) if isinstance(value, (int, float)) else math.nan

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
        """The newest spectrum of the average Jacobian [n_z]; None if none was recorded, or it is damaged."""
        steps = self.run.directory.spectrum_steps()
        try:
            return self.run.directory.read_spectrum(steps[-1])["average_jacobian"] if steps else None
        except ValueError:
            return None

    def histogram(self) -> list[int] | None:
        """The newest class histogram, of up to 360 samples; None if none was recorded."""
        found = [row["class_histogram"] for row in self.rows if "class_histogram" in row]
        return found[-1] if found else None


def read(directory: "StudyDirectory", study: "Study") -> list[Recorded]:
    """The records of every run of a study, in the order of its runs."""
    return [_recorded(run) for run in directory.list_runs(study)]


def _recorded(run):
    damage = run.damage()
    if damage:
        return Recorded(run, {}, [], damage)
    return Recorded(run, run.directory.read_run(), run.directory.read_metrics())


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
            **{f"quotient_{q}": _quotient(run, q) for q in _QUANTILES},
        }
        for run in recorded
    ]


def _quotient(run, quantile):
    found = run.rows[-1].get("quotient_quantiles", {}) if run.rows else {}
    return float(found.get(quantile, math.nan))


def condition(recorded: Sequence[Recorded]) -> str:
    """The log-condition number in claims: the median over latents, or the mean if a run lacks the median."""
    has_median = all("median_log_condition" in run.rows[-1] for run in recorded if run.has_outcome)
    return "median_log_condition" if has_median else "mean_log_condition"
