"""Sets λ_min and λ_max from a study's unclamped runs: `python -m tfjc.study.lambdas --workdir=studies/mnist_nobn`."""

from collections.abc import Sequence

from absl import flags

from tfjc.runs import commands
from tfjc.study import _lambdas, _plan, _read
from tfjc.support import checks
from tfjc.support.files import write_text

_WORKDIR = flags.DEFINE_string("workdir", None, "The study's directory.")
_ARM = flags.DEFINE_string("arm", None, "The unclamped arm; by default the first unclamped one.")
_SCORE = flags.DEFINE_string("score", None, "The score that ranks runs; by default the first recorded one.")
_LOW = flags.DEFINE_string("low", "0.05", "The recorded quantile of Q for λ_min.")
_HIGH = flags.DEFINE_string("high", "0.95", "The recorded quantile of Q for λ_max.")


def main(argv: Sequence[str]) -> int:
    """Prints λ_min and λ_max and writes them as gin bindings; returns the exit status, 2 for a mistake of the user."""
    return commands.status("study.lambdas", _set, argv)


def _set():
    if not _WORKDIR.value:
        raise ValueError("--workdir is needed: the directory of a study")
    directory = _plan.StudyDirectory(_WORKDIR.value)
    study = directory.read()
    recorded = [run for run in _read.read(directory, study) if run.has_outcome]
    arm = _arm(study, recorded)
    runs = [run for run in recorded if run.run.arm == arm]
    names = _read.scores(runs)
    if not names:
        raise ValueError(f"no run of arm {arm!r} in {directory.path} has an outcome with scores")
    score = checks.one_of("score", names[0] if _SCORE.value is None else _SCORE.value, names)
    best, why = _lambdas.best_runs(runs, score)
    low, high = _lambdas.interval(best, _LOW.value, _HIGH.value)
    for run in runs:
        chosen = "*" if run in best else " "
        held = " to ".join(f"{run.last(f'quotient_{q}'):.3g}" for q in (_LOW.value, _HIGH.value))
        print(f"{chosen} {run.run.name:<24} {score} {run.last(score):<10.4g} Q {held}")
    if why:
        print(
            f"the runs do not separate by {score} ({why}): * marks the better half, and the interval is typical of it"
        )
    text = f"JacobianClamping.lambda_min = {low:.3g}\nJacobianClamping.lambda_max = {high:.3g}\n"
    write_text(directory.path / "lambdas.gin", text)
    print(f"{text}written to {directory.path / 'lambdas.gin'}")


def _arm(study, recorded):
    """The arm that the flags name, or the first unclamped arm; raises ValueError for a clamped arm."""
    clamped = {run.run.arm for run in recorded if run.configuration and run.configuration.is_clamped}
    if _ARM.value is None:
        return next((arm for arm in study.arms if arm not in clamped), next(iter(study.arms)))
    if checks.one_of("arm", _ARM.value, study.arms) in clamped:
        raise ValueError(f"arm {_ARM.value!r} is clamped: its quotients depend on its own λ_min and λ_max")
    return _ARM.value


def run() -> None:
    """Starts the command line."""
    commands.start("study.lambdas", main)


if __name__ == "__main__":
    run()
