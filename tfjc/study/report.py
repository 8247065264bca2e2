"""Writes the report of a study from its records: `python -m tfjc.study.report --workdir=studies/quick`."""

from collections.abc import Sequence

from absl import flags

from tfjc.runs import commands
from tfjc.study import _plan, _report
from tfjc.support import noise

_WORKDIR = flags.DEFINE_string("workdir", None, "The study's directory.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the simulated test for two clusters.", lower_bound=0)


def main(argv: Sequence[str]) -> int:
    """Writes the report of a study and prints its verdicts; returns the exit status, 2 for a mistake of the user."""
    return commands.status("study.report", _write, argv)


def _write():
    if not _WORKDIR.value:
        raise ValueError("--workdir is needed: the directory of a study")
    directory = _plan.StudyDirectory(_WORKDIR.value)
    for one in _report.write(directory, noise.rng(_SEED.value, noise.Stream.REPORT)):
        print(f"  {one.verdict:<13}  {one.claim}: {one.found}")
    print(f"written: {directory.path / 'report.html'}, results.csv, results.json and the figures beside it")


def run() -> None:
    """Starts the command line."""
    commands.start("study.report", main)


if __name__ == "__main__":
    run()
