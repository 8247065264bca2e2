"""Products with J_z and J_zᵀ that never form J_z, for large n_z or n_x."""

import functools

import numpy as np
import tensorflow as tf
from scipy.sparse.linalg import LinearOperator

from tfjc.geometry import _generator, _gradients, _lanczos, _memory
from tfjc.geometry._generator import Array, Generator
from tfjc.geometry._methods import UnconnectedError, pull
from tfjc.support import noise, precision
from tfjc.support.xla import use_xla


def operator(generator: Generator, z: Array, *, labels: Array | None = None) -> "JacobianOperator | LinearOperator":
    """J_z as a `JacobianOperator` for latents z [B, n_z], or as a SciPy LinearOperator [n_x, n_z] for one z [n_z].

    Args:
      generator: as in `tfjc.geometry.jacobian`.
      z: latents [B, n_z], or one latent [n_z].
      labels: [B, ...], or the label of the one latent.

    Raises:
      ValueError: as `tfjc.geometry.jacobian`; inside a tf.function; or the generator draws random numbers, so that its
        Jacobian differs between products.
    """
    z = tf.convert_to_tensor(z)
    if z.shape.rank == 1:
        return JacobianOperator(generator, z[None], None if labels is None else tf.convert_to_tensor(labels)[None])[0]
    return JacobianOperator(generator, z, labels)


class JacobianOperator:
    """The maps v ↦ J_z v and u ↦ J_zᵀu at each of B latents, by automatic differentiation.

    `operator[b]` is the SciPy LinearOperator [n_x, n_z] at the b-th latent. Arguments and errors are those of
    `tfjc.geometry.operator`, for latents [B, n_z]. As many products run together as fit into a quarter of the device's
    free memory.

    Attributes:
      shape: (B, n_x, n_z).
      z: the latents, [B, n_z].
      epsilon: machine epsilon of the coarsest type that the generator computes in.
    """

    def __init__(self, generator: Generator, z: Array, labels: Array | None = None) -> None:
        if not tf.executing_eagerly():
            raise ValueError("an operator makes its own graphs and cannot be made inside a tf.function")
        self.z = _generator.latents(z)
        self._labels = _generator.conditions(labels, self.z)
        inspection = _generator.inspect(generator, self.z, self._labels)
        self.shape = (self.z.shape[0], inspection.n_x, self.z.shape[1])
        self.epsilon = inspection.epsilon
        self._together = _memory.pairs(inspection, None)
        self._generator = generator
        _generator.check_independent(generator, self.z, self._labels, inspection)
        if _generator.draws_noise(generator, self.z, self._labels):
            raise ValueError("the generator draws random numbers: its Jacobian differs between products")
        options = {"jit_compile": use_xla(), "autograph": False, "reduce_retracing": True}
        self._push = tf.function(functools.partial(_push, generator), **options)
        self._pull = tf.function(functools.partial(_pull, generator), **options)
        self._check_adjoint(_generator.tolerance(inspection.epsilon))

    def _check_adjoint(self, tolerance):
        """Raises ValueError unless ⟨u, Jv⟩ = ⟨Jᵀu, v⟩ for a random u and v.

        The products differ where TensorFlow ignores a missing second derivative.
        """
        seeds = {axis: noise.seed(0, noise.Stream.ADJOINTS, axis) for axis in (2, 1)}
        v, u = (
            tf.random.stateless_normal([len(self), self.shape[axis]], seed, dtype=self.z.dtype)
            for axis, seed in seeds.items()
        )
        v, u, pushed, pulled = map(np.float64, (v, u, self.matvec(v), self.rmatvec(u)))
        difference = np.abs(np.sum(u * pushed, axis=1) - np.sum(pulled * v, axis=1))
        if np.any(difference > tolerance * (np.linalg.norm(pushed, axis=1) + np.linalg.norm(pulled, axis=1))):
            raise ValueError("TensorFlow cannot differentiate the generator twice: Jv is not the adjoint of Jᵀu")

    def matvec(self, v: Array) -> tf.Tensor:
        """J_z v at each latent: v [B, n_z] → [B, n_x]. Raises ValueError for another shape."""
        return self._apply(self._push, self._vectors("v", v, 2), self.z, self._labels)

    def rmatvec(self, u: Array) -> tf.Tensor:
        """J_zᵀu at each latent: u [B, n_x] → [B, n_z]. Raises ValueError for another shape."""
        return self._apply(self._pull, self._vectors("u", u, 1), self.z, self._labels)

    def extremes(self, k: int = 6, *, krylov: int | None = None, seed: int = 0) -> _lanczos.Extremes:
        """The `Extremes` of J at each latent, stacked: values [B, k]. See `tfjc.geometry.extremes`."""
        found = [_lanczos.extremes(self[index], k, krylov=krylov, seed=seed) for index in range(len(self))]
        return _lanczos.Extremes(*(np.stack(field) for field in zip(*found, strict=True)))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> LinearOperator:
        """The SciPy LinearOperator [n_x, n_z] at one latent. A product with k columns runs G on copies of z."""
        index = range(len(self))[index]

        def product(function, columns):
            rows = tf.convert_to_tensor(columns.T, self.z.dtype)
            labels = None if self._labels is None else tf.repeat(self._labels[index : index + 1], len(rows), axis=0)
            z = tf.repeat(self.z[index : index + 1], len(rows), axis=0)
            return self._apply(function, rows, z, labels).numpy().T

        push, pull = (functools.partial(product, function) for function in (self._push, self._pull))
        return LinearOperator(
            self.shape[1:],
            matvec=lambda v: push(v.reshape(-1, 1))[:, 0],
            rmatvec=lambda u: pull(u.reshape(-1, 1))[:, 0],
            matmat=push,
            rmatmat=pull,
            dtype=self.z.dtype.as_numpy_dtype,
        )

    def _vectors(self, name, vectors, axis):
        vectors = tf.cast(vectors, self.z.dtype)
        expected = [self.shape[0], self.shape[axis]]
        if vectors.shape != expected:
            raise ValueError(f"{name} must have shape {expected}, found {list(vectors.shape)}")
        return vectors

    def _apply(self, function, vectors, z, labels):
        """The products of the `vectors` [k, ...], at most `_together` of them at once."""
        parts = [slice(start, start + self._together) for start in range(0, len(vectors), self._together)]
        at = [(vectors[part], z[part], None if labels is None else labels[part]) for part in parts]
        return tf.concat([self._product(function, *arguments) for arguments in at], axis=0)

    def _product(self, function, vectors, z, labels):
        try:
            with _gradients.completed(), precision.without_tf32():
                return function(vectors, z, labels)
        except UnconnectedError:
            if not _generator.is_constant(self._generator, z, labels):
                raise ValueError(_generator.NOT_DIFFERENTIABLE) from None
            width = self.shape[1] if function is self._push else self.shape[2]
            return tf.zeros([vectors.shape[0], width], self.z.dtype)
        except (LookupError, tf.errors.OpError) as error:
            if isinstance(error, tf.errors.ResourceExhaustedError):
                raise
            reason = _generator.summary(error)
            instead = "tfjc.geometry.jacobian(..., method='batch_jacobian') needs no second derivative"
            raise ValueError(f"TensorFlow cannot differentiate the generator twice ({reason}); {instead}") from error


def _pull(generator, u, z, labels):
    return tf.cast(pull(generator, z, labels, lambda u: None, u)[0], z.dtype)


def _push(generator, v, z, labels):
    """Jv as the gradient of ⟨Jᵀu, v⟩ with respect to u."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        pulled, u = pull(generator, z, labels, tape.watch)
    pushed = tape.gradient(pulled, u, output_gradients=tf.cast(v, pulled.dtype))
    if pushed is None:
        raise LookupError("the generator's gradient has itself no gradient")
    return tf.cast(pushed, z.dtype)
