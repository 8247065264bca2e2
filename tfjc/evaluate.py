"""Scores samples: `python -m tfjc.evaluate --workdir=runs/x`.

Or `--model=generator.keras --gin_file=gin/digits.gin`, or `--images=FOLDER --reference=FOLDER`.
"""

import os
import types
from collections.abc import Sequence

from absl import flags, logging

from tfjc.runs import commands, scoring

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported, below

_NAMED = commands.define_generator_flags()
flags.adopt_module_key_flags(commands)  # --help lists them
_ASKED = types.SimpleNamespace(
    workdir=flags.DEFINE_string("workdir", None, "A run directory: its generator, its dataset and its scores."),
    images=flags.DEFINE_string("images", None, "Images to score: a folder, or a .npy or .npz file."),
    reference=flags.DEFINE_string("reference", None, "The real images: a folder, a file, or the name of a dataset."),
    gin_file=flags.DEFINE_multi_string("gin_file", [], "Gin file that names the dataset and the scores; repeatable."),
    samples=flags.DEFINE_integer("samples", 10_000, "Number of samples of a generator to score.", lower_bound=2),
    train_classifier=flags.DEFINE_boolean(
        "train_classifier", False, "Train the dataset's classifier, and print its accuracy."
    ),
    output_range=flags.DEFINE_list(
        "output_range", None, "The samples' values of black and white, LOW,HIGH: 0,1 or 0,255; inferred by default."
    ),
    output=flags.DEFINE_string(
        "output", None, "File of JSON lines to append to; scores.jsonl of the run, or in analysis/NAME, by default."
    ),
    **vars(commands.define_data_flags()),
)


def main(argv: Sequence[str]) -> int:
    """Scores what the flags name; returns the exit status, 2 if it cannot be scored."""
    return commands.status("evaluate", _evaluate, argv)


def _evaluate():
    scoring.check(_NAMED, _ASKED)
    logging.set_verbosity(logging.WARNING)
    from tfjc.runs import configuration

    with configuration.explained():
        scoring.score(_NAMED, _ASKED)


def run() -> None:
    """Starts the command line."""
    commands.start("evaluate", main)


if __name__ == "__main__":
    run()
