"""The work of `python -m tfjc.train`: trains the experiment that gin files and flags name."""

import os
import pathlib
import sys
import types
from typing import Any

from tfjc.runs import commands
from tfjc.support import gin_files
from tfjc.support.run_directory import RunDirectory

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
    workdir = asked.workdir.value or f"runs/{pathlib.Path(asked.gin_file.value[-1]).stem}_seed{asked.seed.value}"
    several = asked.strategy.value == "multi_worker"
    agreement = _agreement(asked, workdir, configuration.bindings()) if several else None
    names = ("seed", "data_dir", "manual_dir", "resume", "force", "dry_run")
    options = {name: getattr(asked, name).value for name in names}
    if asked.stop_on_collapse.value is not None:
        options["stop_on_collapse"] = asked.stop_on_collapse.value
    at_once = _steps_per_execution(asked.steps_per_execution.value)
    with devices.create(asked.strategy.value, asked.tpu.value, agreement).scope():
        configuration.train_and_evaluate(workdir=workdir, steps_per_execution=at_once, **options)


def _steps_per_execution(text):
    """The number of steps, or "auto"."""
    if text != "auto" and not text.isdecimal():
        raise ValueError(f"--steps_per_execution must be a whole number or auto, found {text!r}")
    return text if text == "auto" else int(text)


def _agreement(asked, workdir, bindings) -> dict[str, Any]:
    """What all workers of a run must be started with."""
    from tfjc.runs import environment

    shared = RunDirectory(os.path.abspath(workdir))
    names = ("seed", "precision", "jit_compile", "resume", "force", "stop_on_collapse")
    return {
        **{f"--{name}": getattr(asked, name).value for name in names},
        "--workdir": str(shared.path),
        "checkpoints in --workdir": sorted(path.name for path in shared.checkpoints.glob("ckpt-*.index")),
        **environment.versions(),
        **{name: value for name, value in bindings.items() if name != "InceptionEvaluator.inception"},
    }
