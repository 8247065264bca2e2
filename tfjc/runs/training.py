"""The work of `python -m tfjc.train`: trains the experiment that gin files and flags name."""

import os
import pathlib
import sys
import types

from tfjc.runs import commands
from tfjc.support import checks, gin_files
from tfjc.support.run_directory import RunDirectory, refuse_foreign

_COLLAPSED = 3  # exit status


def check(asked: types.SimpleNamespace) -> None:
    """Raises ValueError for flags that name no experiment. TensorFlow is not imported for that.

    Args:
      asked: the flags of the command, by name.
    """
    if not asked.gin_file.value:
        raise ValueError("--gin_file is needed, for example --gin_file=gin/digits_jc.gin")
    for name in asked.gin_file.value:
        gin_files.find(name)
    checks.seed("--seed", asked.seed.value)
    _steps_per_execution(asked)
    if asked.tpu.value is not None and asked.strategy.value != "tpu":
        raise ValueError(f"--tpu is for --strategy=tpu, found --strategy={asked.strategy.value}")
    if not asked.dry_run.value:
        run = RunDirectory(_workdir(asked))
        refuse_foreign(run.path, run.run.name, "run")


def train(asked: types.SimpleNamespace) -> int:
    """Trains the experiment; arguments as in `check`.

    Returns:
      The exit status: 1 if the training diverged or failed, for example on a full disk, 3 if it ended for a collapse
      (--stop_on_collapse), else 0.

    Raises:
      ValueError: the experiment cannot be run.
    """
    from tfjc.runs import configuration, foreign, sessions

    try:
        with configuration.explained():
            _run(asked)
    except (FloatingPointError, sessions.TrainingError) as error:
        is_of_user = isinstance(error, foreign.CallbackFailed)
        if isinstance(error.__cause__, (ValueError, TypeError)) and not is_of_user:
            raise  # the traceback of a mistake in the program
        print(f"tfjc.train: {configuration.explain(error)}", file=sys.stderr)
        return _COLLAPSED if isinstance(error, sessions.Collapsed) else 1
    return 0


def _run(asked):
    from tfjc.runs import configuration, devices

    bindings = [*asked.gin_bindings.value, *commands.inception_binding(asked.inception.value)]
    configuration.parse(asked.gin_file.value, bindings)
    devices.prepare(asked.jit_compile.value, precision=asked.precision.value)
    several = asked.strategy.value == "multi_worker"
    agreement = _agreement(asked, configuration.bindings()) if several else None
    names = ("seed", "data_dir", "manual_dir", "resume", "force", "dry_run")
    options = {name: getattr(asked, name).value for name in names}
    if asked.stop_on_collapse.value is not None:
        options["stop_on_collapse"] = asked.stop_on_collapse.value
    options |= {"workdir": _workdir(asked), "steps_per_execution": _steps_per_execution(asked)}
    with devices.create(asked.strategy.value, asked.tpu.value, agreement).scope():
        configuration.train_and_evaluate(**options)


def _workdir(asked):
    """The path of the run directory."""
    return asked.workdir.value or f"runs/{pathlib.Path(asked.gin_file.value[-1]).stem}_seed{asked.seed.value}"


def _steps_per_execution(asked):
    """The number of steps, or "auto"."""
    text = asked.steps_per_execution.value
    if text == "auto":
        return text
    if not text.isdecimal():
        raise ValueError(f"--steps_per_execution must be a whole number or auto, found {text!r}")
    return checks.integer("--steps_per_execution", int(text), minimum=1)


def _agreement(asked, bindings):
    """What all workers of a run must be started with."""
    from tfjc.runs import environment

    shared = RunDirectory(os.path.abspath(_workdir(asked)))
    names = ("seed", "precision", "jit_compile", "resume", "force", "stop_on_collapse")
    return {
        **{f"--{name}": getattr(asked, name).value for name in names},
        "--workdir": str(shared.path),
        "checkpoints in --workdir": sorted(path.name for path in shared.checkpoints.glob("ckpt-*.index")),
        **environment.versions(),
        **{name: value for name, value in bindings.items() if name != "InceptionEvaluator.inception"},
    }
