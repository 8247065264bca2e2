"""What the quotient sees: the spread of Q² beside its formula, for two generators of a study that differ in κ alone.

tools/run python tools/experiments/quotient.py RUN RUN --figure docs/results/causes/quotient.png

A RUN is a run directory of `tools/pjrt/run.py study` with `generator.npz` (seed 0), of mnist_collapsing.gin.

For δ uniform on a sphere of small radius, Q² = δᵀMδ/‖δ‖² has the mean tr(M)/n_z and the relative variance
2/(n_z + 2)·(n_z/r − 1), with the participation ratio r = (tr M)²/tr(M²). An eigenvalue near 0 adds next to nothing.
"""

import argparse
import pathlib

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfjc import architectures, geometry
from tfjc.support import noise, replicas

LATENTS, DIRECTIONS = 64, 512
STEPS = {"ε = 0.001": 1e-3, "ε = 1": 1.0}


def generator_of(run):
    """The generator of a run directory."""
    model = architectures.dcgan((28, 28, 1), n_z=64, channels=16, batch_norm=False).generator
    with np.load(run / "generator.npz") as saved:
        names = sorted(saved.files, key=lambda name: int(name.split("/")[1]))
        model.set_weights([saved[name] for name in names])
    return model


def measured(model):
    """(spectrum, {step: Q² [latents, directions]})."""
    z = tf.random.stateless_normal([LATENTS, 64], noise.seed(0, noise.Stream.LOADED_LATENTS))
    x, found = model(z), {}
    for name, step in STEPS.items():
        rows = []
        for index in range(DIRECTIONS):
            moved = z + step * replicas.unit_directions(z.shape, noise.seed(0, noise.Stream.DIRECTIONS, index))
            rows.append(geometry.quotient(z, moved, x, model(moved)).numpy() ** 2)
        found[name] = np.stack(rows, axis=1).astype(np.float64)
    return geometry.spectrum(model, z), found


def formula(spectrum):
    """(mean [latents], relative variance [latents]) of Q² for small steps."""
    values = spectrum.singular_values.astype(np.float64) ** 2
    total, n_z = values.sum(axis=1), values.shape[1]
    ratio = total**2 / np.sum(values**2, axis=1)
    return total / n_z, 2.0 / (n_z + 2.0) * (n_z / ratio - 1.0)


def main():
    """Prints a table, and draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs=2, type=pathlib.Path)
    parser.add_argument("--figure", type=pathlib.Path, required=True)
    flags = parser.parse_args()
    figure = Figure(figsize=(11, 4))
    left, right = figure.subplots(1, 2)
    for run, colour in zip(flags.runs, ("C0", "C3"), strict=True):
        spectrum, found = measured(generator_of(run))
        mean, variance = formula(spectrum)
        label = f"{run.parent.name}: median ln κ = {spectrum.median_log_condition:.1f}"
        print(label)
        for name, squares in found.items():
            means = squares.mean(axis=1) / mean
            spread = squares.var(axis=1, ddof=1) / squares.mean(axis=1) ** 2 / variance
            print(
                f"  {name}: mean of Q² by formula {means.mean():.3f}, relative variance by formula {spread.mean():.3f}"
            )
        small = found["ε = 0.001"]
        left.hist(np.sqrt(small).ravel(), bins=80, density=True, histtype="step", color=colour, label=label)
        right.plot(variance, small.var(axis=1, ddof=1) / small.mean(axis=1) ** 2, ".", color=colour, label=label)
    left.set(xlabel="Q for small steps", ylabel="density")
    ends = [0.0, max(right.get_xlim()[1], right.get_ylim()[1])]
    right.plot(ends, ends, color="0.6", linewidth=1.0)
    right.set(xlabel="relative variance of Q² by formula", ylabel="measured, 512 directions a latent")
    left.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(flags.figure, dpi=120)


if __name__ == "__main__":
    main()
