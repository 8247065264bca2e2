"""The records of a study's runs, and the final row of each."""

import dataclasses
import functools
import math

import numpy as np

from tfjc.study import _configuration
from tfjc.support.files import is_score

_PLAIN = (
    *("median_log_condition", "mean_log_condition", "infinite_latents", "rank", "nonzero_log_condition", "log_scale"),
    *("participation_ratio", "clamped_low", "clamped_high", "sigma_max", "sigma_min"),
)
_QUANTILES = ("0.05", "0.5", "0.95")
LOWER_IS_BETTER = ("frechet_distance", "fid", "kid", "kernel_distance", "missing_classes", "kl_to_uniform")


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What a run has left: its `Run`, `run.json` and the rows of `metrics.jsonl`."""

    run: object
    about: dict
    rows: list

    @property
    def status(self):
        """As `_plan.Run.status`."""
        return self.about.get("status", "waiting")

    @property
    def has_outcome(self):
        """Whether the run ended by itself, well or diverged, and so counts."""
        return self.status in ("finished", "diverged") and bool(self.rows)

    def series(self, name):
        """(steps, values) at which a number was recorded."""
        taken = [(row["step"], row[name]) for row in self.rows if isinstance(row.get(name), (int, float))]
        return tuple(zip(*taken, strict=True)) if taken else ((), ())

    def last(self, name):
        """The newest value of a number, nan where there is none."""
        values = self.series(name)[1]
        return float(values[-1]) if values else math.nan

    def final(self, name):
        """A number at the last record, nan where that has none."""
        value = self.rows[-1].get(name) if self.rows else None
        return float(value) if isinstance(value, (int, float)) else math.nan

    @functools.cached_property
    def configuration(self):
        """The run's `_configuration.Configuration`; None where `run.json` has no bindings."""
        return _configuration.read(self.about)

    @property
    def went_on_with_another(self):
        """Whether the run went on with another configuration than it began with (`--force`)."""
        return any(session.get("changed") for session in self.about.get("sessions", []))

    @functools.cached_property
    def spectrum(self):
        """The newest spectrum of the average Jacobian [n_z]; None where none was recorded."""
        path = self.run.directory.spectra
        if not path.exists():
            return None
        with np.load(path) as saved:
            return saved["average_jacobian"][-1]

    def histogram(self):
        """The newest class histogram by 360 samples (or as many as there were), None where there is none."""
        found = [row["class_histogram"] for row in self.rows if "class_histogram" in row]
        return found[-1] if found else None


def read(directory, study):
    """The `Recorded` of every run of a study, in the order of its runs."""
    runs = directory.list_runs(study)
    return [Recorded(run, run.directory.read_run(), run.directory.read_metrics()) for run in runs]


def scores(recorded):
    """The plain names of the scores that any run recorded, in the order of their lines."""
    keys = [key for run in recorded for row in run.rows for key in row if not isinstance(row[key], list)]
    return list(dict.fromkeys(key.partition("/")[0] for key in filter(is_score, keys)))


def results(recorded):
    """A row for every run: arm, seed, status, step, the final value of every number; no times, which never repeat."""
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


def condition(recorded):
    """The log-condition number that claims go by: the median over latents, or the mean where a run lacks that."""
    has_median = all("median_log_condition" in run.rows[-1] for run in recorded if run.has_outcome)
    return "median_log_condition" if has_median else "mean_log_condition"
