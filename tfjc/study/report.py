"""Reports on a study, from its records alone: `python -m tfjc.study.report --workdir=studies/quick`."""

from absl import flags

from tfjc.runs import commands
from tfjc.study import _plan, _report
from tfjc.support import noise

_WORKDIR = flags.DEFINE_string("workdir", None, "The study's directory.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the simulated test for two clusters.", lower_bound=0)


def main(argv):
    """Writes the report of the study that the flags name, and prints its claims; returns 2 for a mistake."""
    if len(argv) > 1:
        return _fail(f"expected only flags, found {argv[1]!r}")
    if not _WORKDIR.value:
        return _fail("--workdir is needed: the directory of a study")
    try:
        directory = _plan.StudyDirectory(_WORKDIR.value)
        claims = _report.write(directory, noise.rng(_SEED.value, noise.Stream.REPORT))
    except (ValueError, OSError) as error:
        return _fail(error)
    for claim in claims:
        print(f"  {claim.verdict:<13}  {claim.claim}: {claim.found}")
    print(f"written: {directory.path / 'report.html'}, results.csv, results.json and the figures beside it")
    return 0


def _fail(message):
    return commands.fail("study.report", message)


if __name__ == "__main__":
    commands.start("study.report", main)
