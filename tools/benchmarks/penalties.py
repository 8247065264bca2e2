"""Times a GAN's training step under each penalty on the generator beside the plain step, and prints a table of ratios.

tools/run python tools/benchmarks/penalties.py --output FILE

All steps take turns in one process, so that a drift of speed meets all alike. The ratio is the median over
rounds of a step's CPU time divided by the plain step's in the same round.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from jacobian import machine, markdown  # noqa: E402

from tfjc import architectures, models, penalties  # noqa: E402

PENALTIES = {
    "none": lambda: [],
    "JacobianClamping": lambda: [penalties.JacobianClamping()],
    "PathLength": lambda: [penalties.PathLength()],
    "OroJaR": lambda: [penalties.OroJaR(1.0)],
    "ConditionNumber": lambda: [penalties.ConditionNumber(8.0)],
    "ConditionNumber, every 2": lambda: [penalties.ConditionNumber(8.0, every=2)],
    "SpectralSpread": lambda: [penalties.SpectralSpread()],
    "Isometry": lambda: [penalties.Isometry()],
}
BATCH = 64


def step_of(channels, batch_norm, chosen):
    """A compiled step of a DCGAN of 28 pixels, n_z 64, that has been traced."""
    networks = architectures.dcgan((28, 28, 1), n_z=64, channels=channels, batch_norm=batch_norm, seed=0)
    gan = models.GAN(*networks[:2], prior=networks.prior, generator_penalties=chosen, seed=0)
    gan.compile(keras.optimizers.Adam(2e-4, beta_1=0.5), keras.optimizers.Adam(2e-4, beta_1=0.5))
    images = tf.constant(np.random.default_rng(0).integers(0, 256, [BATCH, 28, 28, 1]).astype(np.uint8))
    compiled = tf.function(lambda: gan.train_step(images))
    for _ in range(4):
        compiled()
    return compiled


def milliseconds(step, count):
    """CPU time of a step, of `count` in a row."""
    start = time.process_time()
    for _ in range(count):
        step()
    return 1e3 * (time.process_time() - start) / count


def main():
    """Measures, and prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--without_batch_norm", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--output", type=pathlib.Path, help="a Markdown file to write")
    flags = parser.parse_args()
    steps = {name: step_of(flags.channels, not flags.without_batch_norm, make()) for name, make in PENALTIES.items()}
    found = {name: [] for name in steps}
    for _ in range(flags.rounds):
        for name, step in steps.items():
            found[name].append(milliseconds(step, flags.steps))
    rows = [["penalty", "CPU ms a step", "÷ none", "range"]]
    for name, times in found.items():
        ratios = sorted(a / b for a, b in zip(times, found["none"], strict=True))
        middle = f"{statistics.median(times):.1f}", f"{statistics.median(ratios):.2f}"
        rows.append([name, *middle, f"{ratios[0]:.2f} to {ratios[-1]:.2f}"])
    normalised = "without" if flags.without_batch_norm else "with"
    heading = f"DCGAN 28, {flags.channels} channels, {normalised} batch normalisation, batch {BATCH}. {machine()}."
    document = "\n".join([heading, "", *markdown(rows, left=1)])
    print(document)
    if flags.output:
        flags.output.write_text(document + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
