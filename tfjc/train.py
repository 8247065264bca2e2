"""Trains a generator and watches its conditioning: `python -m tfjc.train --gin_file=gin/digits_jc.gin`."""

import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags, logging

from tfjc.runs import commands
from tfjc.support import gin_files
from tfjc.support.run_directory import RunDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported, below

_GIN_FILE = flags.DEFINE_multi_string("gin_file", [], "The experiment: a path, or a name in gin/; repeatable.")
_GIN_BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A gin binding that overrides the files; repeatable.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The run directory; runs/NAME_seedN by default.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the weights, the data's order and all noise.", lower_bound=0)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "The data directory of tensorflow-datasets.")
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "A directory with the dataset's official archives.")
_INCEPTION = flags.DEFINE_string("inception", None, "Directory or TF-Hub handle of TF-GAN's Inception module.")
_STOP = flags.DEFINE_boolean(
    "stop_on_collapse",
    None,
    "End the run with status 3 when the generator collapses (train_and_evaluate.alarm_quotient).",
)
_RESUME = flags.DEFINE_boolean("resume", True, "Whether to resume a run that workdir holds.")
_FORCE = flags.DEFINE_boolean("force", False, "Resume a run although its configuration has changed.")
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Print the resolved configuration and the networks, and stop.")
_STRATEGY = flags.DEFINE_enum(
    "strategy",
    "default",
    ["default", "mirrored", "multi_worker", "tpu"],
    "Devices: one, all GPUs, those of the workers that TF_CONFIG names, or a TPU.",
)
_TPU = flags.DEFINE_string("tpu", None, "Address of the TPU for --strategy=tpu; the local TPU by default.")
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "Precision of the networks' computation; weights, losses, norms and spectra are float32 or better.",
)
_JIT = flags.DEFINE_enum("jit_compile", "auto", ["auto", "on", "off"], "XLA; auto: on for GPU and TPU, off for CPU.")
_AT_ONCE = flags.DEFINE_string(
    "steps_per_execution",
    "auto",
    "Steps that TensorFlow takes without Python between them; auto: up to 100 where XLA is on, else 1.",
)


_COLLAPSED = 3  # exit status


def main(argv: Sequence[str]) -> int:
    """Runs the experiment that the flags name.

    Returns:
      The exit status: 2 for a mistake of the user, 1 if the training diverged or failed, for example on a full disk, 3
      if it ended for a collapse (--stop_on_collapse).
    """
    interrupted = "interrupted; the same command goes on from the last checkpoint, if there is one"
    return commands.status("train", _start, argv, interrupted)


def _start():
    if not _GIN_FILE.value:
        raise ValueError("--gin_file is needed, for example --gin_file=gin/digits_jc.gin")
    for name in _GIN_FILE.value:
        gin_files.find(name)  # before TensorFlow is imported, which takes seconds
    logging.set_verbosity(logging.WARNING)
    from tfjc.runs import configuration, foreign, sessions

    try:
        with configuration.explained():
            _train(configuration)
    except (FloatingPointError, sessions.TrainingError) as error:
        is_of_user = isinstance(error, foreign.CallbackFailed)
        if isinstance(error.__cause__, (ValueError, TypeError)) and not is_of_user:
            raise  # the traceback of a mistake in the program
        print(f"tfjc.train: {configuration.explain(error)}", file=sys.stderr)
        return _COLLAPSED if isinstance(error, sessions.Collapsed) else 1


def _train(configuration):
    from tfjc.runs import devices

    configuration.parse(_GIN_FILE.value, [*_GIN_BINDINGS.value, *commands.inception_binding(_INCEPTION.value)])
    devices.prepare(_JIT.value, precision=_PRECISION.value)
    workdir = _WORKDIR.value or f"runs/{pathlib.Path(_GIN_FILE.value[-1]).stem}_seed{_SEED.value}"
    agreement = _agreement(workdir, configuration.bindings()) if _STRATEGY.value == "multi_worker" else None
    with devices.create(_STRATEGY.value, _TPU.value, agreement).scope():
        configuration.train_and_evaluate(
            workdir=workdir,
            seed=_SEED.value,
            data_dir=_DATA_DIR.value,
            manual_dir=_MANUAL_DIR.value,
            resume=_RESUME.value,
            force=_FORCE.value,
            dry_run=_DRY_RUN.value,
            steps_per_execution=_steps_per_execution(),
            **({} if _STOP.value is None else {"stop_on_collapse": _STOP.value}),
        )


def _steps_per_execution():
    text = _AT_ONCE.value
    if text != "auto" and not text.isdecimal():
        raise ValueError(f"--steps_per_execution must be a whole number or auto, found {text!r}")
    return text if text == "auto" else int(text)


def _agreement(workdir, bindings):
    """What all workers of a run must be started with."""
    from tfjc.runs import environment

    shared = RunDirectory(os.path.abspath(workdir))
    flags_of = {"seed": _SEED, "precision": _PRECISION, "jit_compile": _JIT, "resume": _RESUME, "force": _FORCE}
    flags_of["stop_on_collapse"] = _STOP
    return {
        **{f"--{name}": flag.value for name, flag in flags_of.items()},
        "--workdir": str(shared.path),
        "checkpoints in --workdir": sorted(path.name for path in shared.checkpoints.glob("ckpt-*.index")),
        **environment.versions(),
        **{name: value for name, value in bindings.items() if name != "InceptionEvaluator.inception"},
    }


def run() -> None:
    """Starts the command line."""
    commands.start("train", main)


if __name__ == "__main__":
    run()
