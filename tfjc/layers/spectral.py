"""Spectral normalisation that keeps the raw weight as the variable (Miyato et al. 2018, section 2.1, algorithm 1)."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfjc.support import noise

# The axis of the output channels of the kernels [in, out], [k, k, in, out] and [k, k, out, in].
_OUTPUT_AXIS = {keras.layers.Dense: 1, keras.layers.Conv2D: 3, keras.layers.Conv2DTranspose: 2}
_FIRST_ITERATIONS = 20


@keras.saving.register_keras_serializable(package="tfjc")
class SpectralNormalization(keras.layers.Wrapper):
    """Wraps a layer that uses W/σ(W) instead of its kernel W. W stays the trainable variable.

    σ(W) ≈ uᵀWv is the largest singular value of the kernel as a matrix [C_out, k·k·C_in]. A call with training=True
    makes one power iteration, v = Wᵀu/‖Wᵀu‖, u = Wv/‖Wv‖, and stores u in a non-trainable weight. Other calls compute
    v = Wᵀu/‖Wᵀu‖ and change no weight. No gradient flows through u and v. u starts near the singular vector of the
    initial kernel, so σ is accurate from the first call on. A kernel of zeros is not changed. u, v and σ are computed
    in the kernel's type, also where the layer computes in another type.

    Source: Miyato et al. 2018, section 2.1 and algorithm 1.

    Args:
      layer: keras.layers.Dense, Conv2D or Conv2DTranspose.
      name, trainable: of keras.layers.Layer.

    Raises:
      ValueError: `layer` is of another class.
    """

    def __init__(self, layer: keras.Layer, *, name: str | None = None, trainable: bool = True) -> None:
        _output_axis(layer)
        # autocast=False: the wrapped layer casts the inputs itself.
        super().__init__(layer, name=name, trainable=trainable, autocast=False, dtype=layer.dtype_policy.variable_dtype)

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Builds the layer and u [C_out]."""
        super().build(input_shape)
        self.u = self.add_weight(
            name="u",
            shape=[self.layer.kernel.shape[_output_axis(self.layer)]],
            initializer=self._first_u,
            trainable=False,
            aggregation="only_first_replica",  # all replicas make the same iteration
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The layer's output with the normalised kernel."""
        kernel = self.normalised_kernel(training)
        # In this scope, reading the variable gives the tensor. The scope drops losses that it does not collect.
        with keras.StatelessScope([(self.layer.kernel, kernel)], collect_losses=True) as scope:
            if scope.original_scope is not None:  # keep the replacements of an outer scope
                scope.state_mapping = {**scope.original_scope.state_mapping, **scope.state_mapping}
            outputs = self.layer(inputs)
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def normalised_kernel(self, training: bool = False) -> tf.Tensor:
        """The kernel that a call uses, in the shape of W. With `training`, makes a power iteration."""
        return self.layer.kernel / self._spectral_norm(kernel_matrix(self.layer), training)

    def _spectral_norm(self, matrix, training):
        """σ(W) ≈ uᵀWv; 1 for a matrix of zeros."""
        fixed, u = tf.stop_gradient(matrix), tf.stop_gradient(tf.convert_to_tensor(self.u))
        v = _unit(tf.linalg.matvec(fixed, u, transpose_a=True), otherwise=0.0)
        if training:
            u = _unit(tf.linalg.matvec(fixed, v), otherwise=u)
            self.u.assign(u)
        sigma = tf.tensordot(u, tf.linalg.matvec(matrix, v), 1)
        return tf.where(tf.equal(sigma, 0), tf.ones_like(sigma), sigma)

    def _first_u(self, shape, dtype=None):
        matrix = tf.convert_to_tensor(kernel_matrix(self.layer))
        seed = noise.seed(0, noise.Stream.SPECTRAL_NORM)
        u = _unit(tf.random.stateless_normal(shape, seed, dtype=matrix.dtype), otherwise=0.0)
        for _ in range(_FIRST_ITERATIONS):
            u = _unit(tf.linalg.matvec(matrix, tf.linalg.matvec(matrix, u, transpose_a=True)), otherwise=u)
        return u

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The output shape of the wrapped layer."""
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        """The symbolic output of the wrapped layer."""
        return self.layer.compute_output_spec(inputs)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for Keras. The wrapper's dtype follows from the layer's, so it is left out."""
        config = super().get_config()
        del config["dtype"]
        return config


def kernel_matrix(layer: keras.Layer) -> tf.Tensor:
    """The raw kernel W of a built layer, or of a wrapped layer, as a matrix [C_out, k·k·C_in].

    Raises ValueError for layers other than Dense, Conv2D and Conv2DTranspose.
    """
    layer = layer.layer if isinstance(layer, SpectralNormalization) else layer
    return to_matrix(layer, tf.convert_to_tensor(layer.kernel))


def to_matrix(layer: keras.Layer, kernel: tf.Tensor) -> tf.Tensor:
    """A kernel of `layer` as a matrix [C_out, k·k·C_in]."""
    axis = _output_axis(layer)
    first = tf.transpose(kernel, [axis, *(a for a in range(kernel.shape.rank) if a != axis)])
    return tf.reshape(first, [kernel.shape[axis], -1])


def to_kernel(layer: keras.Layer, matrix: tf.Tensor) -> tf.Tensor:
    """The inverse of `to_matrix`: a matrix [C_out, k·k·C_in] as a kernel of `layer`."""
    axis, shape = _output_axis(layer), list(layer.kernel.shape)
    order = list(range(1, len(shape)))
    order.insert(axis, 0)
    return tf.transpose(tf.reshape(matrix, [shape.pop(axis), *shape]), order)


def _output_axis(layer):
    for kind, axis in _OUTPUT_AXIS.items():
        if isinstance(layer, kind):
            return axis
    names = ", ".join(kind.__name__ for kind in _OUTPUT_AXIS)
    raise ValueError(f"only layers of these classes can be normalised: {names}; found {_description(layer)}")


def _description(layer):
    return f"{type(layer).__name__} {layer.name!r}" if isinstance(layer, keras.layers.Layer) else repr(layer)


def _unit(x, otherwise):
    """x/‖x‖, or `otherwise` where x is 0."""
    norm = tf.norm(x)
    return tf.where(norm > 0, x / norm, otherwise)
