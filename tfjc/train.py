"""Trains a generator and watches its conditioning: `python -m tfjc.train --gin_file=gin/digits_jc.gin`."""

import os
import types
from collections.abc import Sequence

from absl import flags, logging

from tfjc.runs import commands, training

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported, below

_STRATEGIES = ["default", "mirrored", "multi_worker", "tpu"]
_ASKED = types.SimpleNamespace(
    gin_file=flags.DEFINE_multi_string("gin_file", [], "The experiment: a path, or a name in gin/; repeatable."),
    workdir=flags.DEFINE_string("workdir", None, "The run directory; runs/NAME_seedN by default."),
    seed=flags.DEFINE_integer("seed", 0, "Seed of the weights, the data's order and all noise.", lower_bound=0),
    stop_on_collapse=flags.DEFINE_boolean(
        "stop_on_collapse",
        None,
        "End the run with status 3 when the generator collapses (train_and_evaluate.alarm_quotient).",
    ),
    resume=flags.DEFINE_boolean("resume", True, "Whether to resume a run that workdir holds."),
    force=flags.DEFINE_boolean("force", False, "Resume a run although its configuration has changed."),
    dry_run=flags.DEFINE_boolean("dry_run", False, "Print the resolved configuration and the networks, and stop."),
    strategy=flags.DEFINE_enum(
        "strategy",
        "default",
        _STRATEGIES,
        "Devices: one, all GPUs, those of the workers that TF_CONFIG names, or a TPU.",
    ),
    tpu=flags.DEFINE_string("tpu", None, "Address of the TPU for --strategy=tpu; the local TPU by default."),
    precision=flags.DEFINE_enum(
        "precision",
        "float32",
        commands.PRECISIONS,
        "Precision of the networks' computation; weights, losses, norms and spectra are float32 or better.",
    ),
    jit_compile=commands.define_jit_compile(),
    steps_per_execution=flags.DEFINE_string(
        "steps_per_execution",
        "auto",
        "Steps that TensorFlow takes without Python between them; auto: up to 100 where XLA is on, else 1.",
    ),
    **vars(commands.define_data_flags()),
)
flags.adopt_module_key_flags(commands)  # --help lists them


def main(argv: Sequence[str]) -> int:
    """Runs the experiment that the flags name; returns the exit status (`training.train`), 2 for a user's mistake."""
    interrupted = "interrupted; the same command goes on from the last checkpoint, if there is one"
    return commands.status("train", _train, argv, interrupted)


def _train():
    training.check(_ASKED)
    logging.set_verbosity(logging.WARNING)
    return training.train(_ASKED)


def run() -> None:
    """Starts the command line."""
    commands.start("train", main)


if __name__ == "__main__":
    run()
