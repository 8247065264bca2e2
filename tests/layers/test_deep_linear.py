"""The theory of preconditioning on a deep linear network: bounded spectra leave no place to stall at."""

import numpy as np
import pytest
import tensorflow as tf

from tools.experiments import deep_linear

DEPTH, WIDTH = 6, 6


@pytest.mark.parametrize("level", [None, 0, 4])
def test_the_gradient_is_bounded_from_below_by_the_spectra(level):
    """Σ_l ‖∂/∂A_l‖² ≥ 2·L·τ^{2(L−1)}·loss with τ the smallest singular value of any A_l; at orthogonal A_l equality."""
    goal = tf.constant(deep_linear.target(WIDTH, seed=1), tf.float32)

    def both_sides(matrices):
        with tf.GradientTape() as tape:
            tape.watch(matrices)
            loss = deep_linear.loss_of(matrices, goal)
        squares = sum(float(tf.reduce_sum(g**2)) for g in tape.gradient(loss, matrices))
        tau = min(np.linalg.svd(m, compute_uv=False)[-1] for m in matrices)
        return squares, 2 * len(matrices) * tau ** (2 * (len(matrices) - 1)) * float(loss)

    for seed in range(3):
        matrices = deep_linear.effective(deep_linear.network(level, DEPTH, WIDTH, seed))
        squares, bound = both_sides(matrices)
        assert squares >= bound * (1 - 1e-4)
        squares, bound = both_sides([tf.linalg.qr(matrix)[0] for matrix in matrices])
        assert squares == pytest.approx(bound, rel=1e-3)


def test_preconditioned_descent_converges_where_the_plain_one_stalls():
    """At a rate that suits both: after 400 steps the losses are far apart."""
    goal, final = deep_linear.target(WIDTH, seed=0), {}
    for level in (None, 4):
        losses, smallest = deep_linear.Descent(deep_linear.network(level, DEPTH, WIDTH, 0), goal).run(0.1, 400)
        final[level] = losses[-1]
        assert losses[0] > 0.5
        if level == 4:
            assert smallest[-1] > 0.4
    assert final[4] < 1e-6
    assert final[None] > 1e-2
