"""Gradient descent on a deep linear network, with and without bounded weight spectra (PC-layer paper, its theory).

tools/run python tools/experiments/deep_linear.py --output docs/results/deep_linear.png

The loss is ½‖A_L ⋯ A_1 − T‖² for square A_l and a target T with singular values from 0.5 to 0.9. With R the residual,
∂/∂A_l = (A_L ⋯ A_{l+1})ᵀ R (A_{l−1} ⋯ A_1)ᵀ, so that where all singular values of all A_l are τ or more,

    Σ_l ‖∂/∂A_l‖² ≥ 2·L·τ^{2(L−1)}·loss:

there is no place to stall at but the minimum. Compared are A_l = W_l as it is, W_l/σ(W_l), and preconditioned weights,
from the same Gaussian W_l, each at that learning rate of a list which leaves the lowest loss in the median.
"""

import argparse
import pathlib

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfjc.layers import Preconditioning, SpectralNormalization, kernel_matrix

KINDS = {"plain": None, "spectral normalisation": 0, "preconditioning, level 1": 1, "preconditioning, level 4": 4}
RATES = (0.01, 0.03, 0.1, 0.3)
EVERY = 20


def main():
    """Trains them all, prints a table, draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, help="a picture to write")
    flags = parser.parse_args()
    best = {name: best_rate(level, flags) for name, level in KINDS.items()}
    print("| weights | learning rate | loss after training, each seed | smallest singular value of a layer, then |")
    print("|---|---|---|---|")
    for name, (rate, curves) in best.items():
        losses = ", ".join(f"{loss[-1]:.2g}" for loss, _ in curves)
        smallest = ", ".join(f"{value[-1]:.2g}" for _, value in curves)
        print(f"| {name} | {rate} | {losses} | {smallest} |")
    if flags.output:
        draw(best, flags)


def best_rate(level, flags):
    """(the rate with the lowest median of final losses, [(losses, smallest singular values)] of all seeds at it)."""
    seeds = range(flags.seeds)
    descents = [Descent(network(level, flags.depth, flags.width, seed), target(flags.width, seed)) for seed in seeds]
    found = {rate: [descent.run(rate, flags.steps) for descent in descents] for rate in RATES}
    final = {rate: np.median([losses[-1] for losses, _ in curves]) for rate, curves in found.items()}
    rate = min((rate for rate in RATES if np.isfinite(final[rate])), key=final.get)
    return rate, found[rate]


def network(level, depth, width, seed):
    """x ↦ A_L ⋯ A_1 x as 1×1 convolutions of one pixel; level None leaves the weights as they are."""
    layers = []
    for index in range(depth):
        initial = keras.initializers.RandomNormal(stddev=width**-0.5, seed=1000 * seed + index)
        layer = keras.layers.Conv2D(width, 1, use_bias=False, kernel_initializer=initial)
        layers.append(layer if level is None else Preconditioning(layer, level))
    return keras.Sequential([keras.Input([1, 1, width]), *layers])


def target(width, seed):
    """A random matrix with singular values evenly from 0.5 to 0.9."""
    left, _, right = np.linalg.svd(np.random.default_rng(seed).standard_normal([width, width]))
    return left * np.linspace(0.5, 0.9, width) @ right


def effective(model, training=False):
    """The matrices A_1, ..., A_L that a call applies, as tensors [width, width]."""
    return [
        tf.transpose(layer.normalised_kernel(training)[0, 0])
        if isinstance(layer, SpectralNormalization)
        else kernel_matrix(layer)
        for layer in model.layers
    ]


def loss_of(matrices, goal):
    """½‖A_L ⋯ A_1 − T‖²."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = matrix @ product
    return 0.5 * tf.reduce_sum((product - goal) ** 2)


class Descent:
    """Plain gradient descent of a network towards a goal, always from the weights it has when this is made."""

    def __init__(self, model, goal):
        self._model, self._goal, self._first = model, tf.constant(goal, tf.float32), model.get_weights()
        self._advance, self._measured = tf.function(self._some_steps), tf.function(self._measure)

    def run(self, rate, steps):
        """(losses, smallest singular values of any A_l) at every 20th step from 0 on, until the loss is not finite."""
        self._model.set_weights(self._first)
        curve = [self._measured()]
        while len(curve) <= steps // EVERY and np.isfinite(curve[-1][0]):
            self._advance(tf.constant(rate))
            curve.append(self._measured())
        return tuple(np.array(column) for column in zip(*curve, strict=True))

    def _some_steps(self, rate):
        weights = self._model.trainable_variables
        for _ in tf.range(EVERY):
            with tf.GradientTape() as tape:
                loss = loss_of(effective(self._model, training=True), self._goal)
            for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
                weight.assign_sub(rate * gradient)

    def _measure(self):
        matrices = effective(self._model)
        return loss_of(matrices, self._goal), tf.reduce_min(tf.linalg.svd(tf.stack(matrices), compute_uv=False))


def draw(best, flags):
    """Losses, and the smallest singular value of any layer, over the steps: a line for each seed."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for index, (name, (rate, curves)) in enumerate(best.items()):
        for seed, lines in enumerate(curves):
            for axis, line in zip(axes, lines, strict=True):
                label = None if seed else f"{name}, rate {rate}"
                axis.semilogy(EVERY * np.arange(len(line)), np.maximum(line, 1e-12), f"C{index}", label=label, lw=1)
    axes[0].set(ylabel="½‖A_L ⋯ A_1 − T‖²", xlabel="step", title=f"{flags.depth} layers of {flags.width}")
    axes[1].set(ylabel="smallest singular value of any A_l", xlabel="step", ylim=(1e-4, 1.5))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    figure.savefig(flags.output, dpi=110)


if __name__ == "__main__":
    main()
