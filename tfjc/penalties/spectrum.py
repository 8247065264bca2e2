"""Penalties on the spectrum of the metric tensor M_z = J_zᵀJ_z: its condition number, its spread, its isometry.

J_z is that of inference mode, with the moving statistics of batch normalisation held constant. So the penalties act on
the numbers that `tfjc.callbacks.Conditioning` measures. All of them are blind to the scale of the images: a generator
that shrinks to a constant costs nothing. `QuotientFloor` holds the scale up.
"""

import functools
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from tfjc import geometry
from tfjc.penalties.jacobian import connected
from tfjc.support import checks, noise, precision

_SQUARINGS = 12  # the 4096th power of a matrix: eigenvalues 1 % apart are then a factor of e⁴¹ apart
_SHIFT = 1e-13  # of the trace, added to M before it is inverted: 1/κ(M) may be below float64's rounding
_FLOOR = 1e-4  # τ of SpectralSpread
_LEAST_RATIO = 1e-10  # of σ_min to σ_max: what is smaller is rounding


class _OfNewLatents:
    """What the penalties of this module share: a weight, latents of their own, and a number of steps between calls."""

    least_samples = 1

    def __init__(self, weight: float = 0.1, samples: int = 2, every: int = 1) -> None:
        self.weight = checks.real("weight", weight, minimum=0.0)
        self.samples = checks.integer("samples", samples, minimum=self.least_samples)
        self.every = checks.integer("every", every, minimum=1)

    def measure(self, generate: Callable[..., tf.Tensor], z: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """An empty dict: the penalty itself is logged."""
        return {}


class ConditionNumber(_OfNewLatents):
    """A hinge on the log-condition number: weight·2·max(0, 1 − √(κ_T/κ(M_z))), with ln κ_T = target.

    With u = ln κ(M_z) − target, the penalty is 2(1 − e^{−u/2}) for u > 0 and 0 else: u near the target, and 2 at most.
    It equals 2(1 − σ_min·√κ_T/σ_max), so that its derivative by σ_min is −2√κ_T/σ_max at most in size. The derivative
    of ln κ itself is 2/σ_min, and training with that diverges where σ_min is small.

    The derivative of a singular value is uᵀ(∂J)v, with the singular vectors u and v held constant. So only two products
    with Jᵀ are differentiated for each latent. Where the value is repeated, this is the derivative along one of its
    vectors; where σ_min = 0, the penalty is 2 and its gradient is 0.

    With a gain, the weight w is controlled: ln w ← ln w + gain·clip(mean ln κ(M_z) − target, −1, 1) at each call. This
    is integral control. w does not fall below `weight`. Where a weight can reach it, ln κ then stays at the target.

    Args:
      target: the target of ln κ(M_z), ≥ 0.
      weight: weight of the penalty, ≥ 0; the first and least weight where there is a gain.
      samples: new latents of each call.
      every: the penalty is taken at every `every`-th step, with `every` times the weight.
      gain: gain of the controller, ≥ 0.

    Attributes:
      variables: a list with the last mean ln κ(M_z) and, where there is a gain, ln weight.

    Raises:
      ValueError: an argument is out of range.
    """

    def __init__(self, target: float, weight: float = 0.1, samples: int = 2, every: int = 1, gain: float = 0.0) -> None:
        super().__init__(weight, samples, every)
        self.target = checks.real("target", target, minimum=0.0, below=64.0)
        self.gain = checks.real("gain", gain, minimum=0.0)
        if self.gain and not self.weight:
            raise ValueError("a controlled weight starts above 0, found weight = 0")
        self.measured = keras.Variable(0.0, dtype="float32", trainable=False, name="penalised_log_condition")
        start = math.log(self.weight) if self.gain else 0.0
        self.log_weight = keras.Variable(start, dtype="float32", trainable=False, name="log_weight")
        self.variables = [self.measured, *[self.log_weight] * bool(self.gain)]

    def __call__(self, generate: Callable[..., tf.Tensor], z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The penalty of each latent, [B]. Keeps the mean ln κ(M_z), and moves a controlled weight."""
        z = geometry.latents(z)
        j = geometry.jacobian(functools.partial(_infer, generate), z)
        vectors = _ends(geometry.gram(j))
        largest, smallest = _singular_values(generate, z, tf.stop_gradient(j), tf.stop_gradient(vectors))
        ratio = tf.math.divide_no_nan(smallest, largest)
        penalty = 2.0 * tf.nn.relu(1.0 - math.exp(0.5 * self.target) * ratio)
        weight = tf.cast(self._controlled(ratio), penalty.dtype)
        return weight * penalty

    def _controlled(self, ratio):
        """The weight of this call. Keeps the mean ln κ; a latent's ln κ counts as 46, float64's end, at most."""
        log_condition = tf.reduce_mean(-2.0 * tf.math.log(tf.maximum(tf.cast(ratio, tf.float32), _LEAST_RATIO)))
        self.measured.assign(tf.stop_gradient(log_condition))
        if not self.gain:
            return self.weight
        before = tf.convert_to_tensor(self.log_weight)
        error = tf.clip_by_value(tf.convert_to_tensor(self.measured) - self.target, -1.0, 1.0)
        self.log_weight.assign(tf.maximum(before + self.gain * error, math.log(self.weight)))
        return tf.exp(before)

    def measure(self, generate: Callable[..., tf.Tensor], z: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """The last mean ln κ(M_z), as "penalised_log_condition", and a controlled weight, as "condition_weight"."""
        found = {"penalised_log_condition": tf.convert_to_tensor(self.measured)}
        return {**found, "condition_weight": tf.exp(tf.convert_to_tensor(self.log_weight))} if self.gain else found


class SpectralSpread(_OfNewLatents):
    """The variance over i of ln(λ_i + τ·tr M_z/n_z), with λ_i the eigenvalues of M_z and τ = 1e-4, times a weight.

    It is 0 exactly where all eigenvalues are equal, that is where G is conformal at z. τ bounds the derivative where an
    eigenvalue is small: the penalty does not tell eigenvalues apart that are below 1e-4 of their mean.

    Args:
      weight: weight of the penalty, ≥ 0.
      samples: new latents of each call.
      every: the penalty is taken at every `every`-th step, with `every` times the weight; 1 where XLA compiles.

    Raises:
      ValueError: an argument is out of range.
    """

    def __call__(self, generate: Callable[..., tf.Tensor], z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The penalty of each latent, [B]."""
        with geometry.twice_differentiable():
            m = geometry.gram(geometry.jacobian(functools.partial(_infer, generate), z))
        mean = tf.linalg.trace(m)[:, None] / m.shape[-1]
        relative = tf.math.divide_no_nan(tf.maximum(_eigenvalues(m), 0.0), mean)
        return self.weight * tf.cast(tf.math.reduce_variance(tf.math.log(relative + _FLOOR), axis=1), z.dtype)


class Isometry(_OfNewLatents):
    """weight·(n_z·E tr(M_z²)/(E tr M_z)² − 1), which is 0 where M_z = c·I with one c for all z, and above 0 else.

    n_z·tr(M²) ≥ (tr M)² by Cauchy's inequality, with equality for equal eigenvalues, and E(tr M)² ≥ (E tr M)².
    The traces come from products alone: tr M = E‖Jv‖² and tr M² = E‖JᵀJv‖² for v uniform on the sphere of radius √n_z,
    one v for each latent. So the estimate from one batch is a ratio of two means. The relaxed distortion of Lee et al.
    2022, section 3, has the same ratio.

    Args:
      weight: weight of the penalty, ≥ 0.
      samples: new latents of each call, ≥ 2.
      every: the penalty is taken at every `every`-th step, with `every` times the weight.

    Raises:
      ValueError: an argument is out of range.
    """

    least_samples = 2

    def __init__(self, weight: float = 0.1, samples: int = 16, every: int = 1) -> None:
        super().__init__(weight, samples, every)

    def __call__(self, generate: Callable[..., tf.Tensor], z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The share of each latent in the penalty, [B]. The mean over B is the penalty."""
        z = geometry.latents(z)
        v = tf.random.stateless_normal(tf.shape(z), noise.seed(seed, noise.Stream.ISOMETRY), dtype=z.dtype)
        v *= math.sqrt(z.shape[1]) / precision.safe_norm(v)[:, None]
        products = (tf.cast(p, tf.float64) for p in _products(generate, z, v))  # float32 does not hold σ⁴ below 1e-38
        first, second = (tf.reduce_sum(tf.square(p), axis=1) for p in products)
        scale = tf.square(tf.reduce_mean(first))
        excess = z.shape[1] * tf.math.divide_no_nan(second, scale) - 1.0
        return self.weight * tf.cast(tf.where(tf.equal(scale, 0.0), tf.zeros_like(excess), excess), z.dtype)


def _infer(generate, z):
    return generate(z, training=False)


def _eigenvalues(m):
    """vᵀMv for unit eigenvectors v of each symmetric M, differentiable by M with v held constant: [B, n].

    The derivative of a symmetric function of all eigenvalues is exact, also where eigenvalues are equal. That of
    `tf.linalg.eigvalsh` takes a second decomposition.
    """
    vectors = tf.stop_gradient(tf.linalg.eigh(m)[1])
    return tf.reduce_sum(vectors * (m @ vectors), axis=1)


def _ends(m):
    """Unit eigenvectors of the largest and of the smallest eigenvalue of each M [B, n, n]: [2, B, n].

    High powers of M and of M⁻¹ keep one vector each. Unlike `tf.linalg.eigh`, XLA compiles them to a few products.
    """
    unit = tf.eye(m.shape[-1], dtype=m.dtype)
    shift = _SHIFT * tf.linalg.trace(m) + 1e-200
    inverse = tf.linalg.cholesky_solve(tf.linalg.cholesky(m + shift[:, None, None] * unit), unit[None])
    return tf.stack([_leading(m + shift[:, None, None] * unit), _leading(inverse)])


def _leading(m):
    """The unit eigenvector of the largest eigenvalue of each symmetric positive definite M."""
    for _ in range(_SQUARINGS):
        m = m / tf.linalg.trace(m)[:, None, None]
        m = m @ m
    column = tf.argmax(tf.linalg.diag_part(m), axis=1)
    vector = tf.gather(m, column, axis=2, batch_dims=1)
    return vector / tf.norm(vector, axis=1, keepdims=True)


def _singular_values(generate, z, j, vectors):
    """⟨Jᵀu, v⟩ with u = Jv/‖Jv‖ for v in `vectors` [k, B, n_z], differentiable by the weights: k times [B]."""
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(z)
        x = precision.full(generate(z, training=False))
    found = []
    for v in tf.unstack(vectors):
        pushed = tf.linalg.matvec(tf.cast(j, v.dtype), v)
        u = tf.math.divide_no_nan(pushed, tf.norm(pushed, axis=1, keepdims=True))
        with geometry.twice_differentiable():
            pulled = connected(tape.gradient(x, z, output_gradients=tf.reshape(tf.cast(u, x.dtype), tf.shape(x))))
        found.append(tf.reduce_sum(pulled * tf.cast(v, pulled.dtype), axis=1))
    return found


def _products(generate, z, v):
    """(Jv [B, n_x], JᵀJv [B, n_z]), differentiable by the weights."""
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(z)
        x = precision.full(generate(z, training=False))
    with geometry.twice_differentiable():
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            u = tf.zeros_like(x)
            outer.watch(u)
            along = tf.reduce_sum(connected(tape.gradient(x, z, output_gradients=u)) * v)
        pushed = outer.gradient(along, u)
        pulled = tape.gradient(x, z, output_gradients=pushed)
    return tf.reshape(pushed, [tf.shape(x)[0], -1]), tf.cast(pulled, x.dtype)
