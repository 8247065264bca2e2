"""Measures a trained generator: `python -m tfjc.analyze --model=generator.keras`."""

import os
import types
from collections.abc import Sequence

from absl import flags, logging

from tfjc.runs import commands, measuring

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported, below

_NAMED = commands.define_generator_flags()
flags.adopt_module_key_flags(commands)  # --help lists them
_ASKED = types.SimpleNamespace(
    samples=flags.DEFINE_integer(
        "samples", None, "Number of latents to measure at; 64 by default, 4 with --partial.", lower_bound=1
    ),
    output=flags.DEFINE_string("output", None, "The directory to write; analysis/NAME by default."),
    chunk=flags.DEFINE_integer(
        "chunk", None, "(Sample, pass) pairs held at once; set by the free memory by default.", lower_bound=1
    ),
    float64=flags.DEFINE_boolean("float64", False, "Compute in float64, as a reference; for Keras models."),
    partial=flags.DEFINE_boolean(
        "partial",
        False,
        "Measure the top of the spectrum, its trace, density and ln det M from products with J; for latents of 10⁴ "
        "numbers and more, whose full spectra cannot be computed.",
    ),
    probes=flags.DEFINE_integer(
        "probes", None, "With --partial: number of random probes; 8 by default.", lower_bound=2
    ),
    lanczos_steps=flags.DEFINE_integer(
        "lanczos_steps", None, "With --partial: Lanczos steps of each probe; 64 by default.", lower_bound=2
    ),
)


def main(argv: Sequence[str]) -> int:
    """Analyses the generator that the flags name; returns the exit status, 2 if it cannot be analysed."""
    return commands.status("analyze", _analyze, argv)


def _analyze():
    measuring.check(_NAMED, _ASKED)
    logging.set_verbosity(logging.WARNING)
    measuring.measure(_NAMED, _ASKED)


def run() -> None:
    """Starts the command line."""
    commands.start("analyze", main)


if __name__ == "__main__":
    run()
