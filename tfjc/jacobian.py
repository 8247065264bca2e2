"""The Jacobian engine: J_z = ∂G(z)/∂z of a generator and its metric tensor M_z = J_zᵀJ_z (Odena et al. 2018, §2).

A generator is any callable z [B, n_z] → x [B, ...] that treats its samples independently (batch normalisation in
inference mode); outputs are flattened to n_x.
"""

import functools
import weakref

import keras
import tensorflow as tf

from tfjc import checks, numerics


def jacobian(generator, z, *, method="pullback", chunk=None):
    """J_z for each latent: J[b, i, j] = ∂G(z_b)_i / ∂(z_b)_j.

    Args:
      generator: callable z [B, n_z] → x [B, ...], differentiable, of floating type.
      z: latents [B, n_z].
      method: "pullback" (n_z passes, the default) or "batch_jacobian" (n_x passes, the reference).
      chunk: the most (sample, pass) pairs held at once (2 passes at least), which bounds memory; None takes all.

    Returns:
      [B, n_x, n_z] float32 (float64 for float64 latents).

    Raises:
      ValueError: z is not [B, n_z] with B ≥ 1 and floating, G's output is not floating or lacks the batch axis, or an
        argument is out of range.
    """
    return tf.concat(list(_blocks(generator, z, method, chunk)), axis=0)


def metric_tensor(generator, z, *, method="pullback", chunk=None):
    """M_z = J_zᵀJ_z for each latent, formed in float64: [B, n_z, n_z]. Arguments and errors as `jacobian`.

    In float32 the Gram matrix could not resolve ln κ(M) above ln(1/1.2e-7) ≈ 16.
    """
    return tf.concat([gram(block) for block in _blocks(generator, z, method, chunk)], axis=0)


def gram(matrices):
    """AᵀA of each matrix in float64: [B, m, n] → [B, n, n]."""
    matrices = tf.cast(matrices, tf.float64)
    return tf.matmul(matrices, matrices, transpose_a=True)


def blocks(generator, z, *, chunk=None):
    """The rows of `jacobian(generator, z)` as consecutive blocks of samples, computed one after the other."""
    return _blocks(generator, z, "pullback", chunk)


def _blocks(generator, z, method, chunk):
    z = _latents(z)
    _check_generator(generator, z)
    compute = _computation(_METHODS[checks.one_of("method", method, _METHODS)], generator)
    if chunk is None:
        yield compute(z, None)
        return
    chunk = checks.integer("chunk", chunk, minimum=1)
    n_z = z.shape[1]
    samples, passes = max(1, chunk // n_z), max(2, min(n_z, chunk))  # TensorFlow's loop takes no fewer than 2
    if z.shape[0] is None:
        raise ValueError("chunk needs a known number of latents, found z with an unknown first axis")
    for start in range(0, z.shape[0], samples):
        yield compute(z[start : start + samples], passes)


def _computation(function, generator):
    """`function` of a generator as a graph (z, passes) → J.

    Traces are kept for models and modules, whose state is in variables, and only as long as these live. Any other
    callable is traced at each call, since whatever it holds may have changed.
    """
    if not tf.executing_eagerly():
        return functools.partial(function, generator)  # the function being traced decides, on XLA too
    if isinstance(generator, (keras.Layer, tf.Module)):
        return functools.partial(_traced(function, numerics.use_xla(), generator), generator)
    return tf.function(functools.partial(function, generator), jit_compile=numerics.use_xla(), autograph=False)


_traces = weakref.WeakKeyDictionary()


def _traced(function, xla, generator):
    # The generator is an argument of the tf.function, which keeps but a weak reference to it.
    traces = _traces.setdefault(generator, {})
    if (function, xla) not in traces:
        traces[function, xla] = tf.function(function, jit_compile=xla, autograph=False)
    return traces[function, xla]


def _pullback(generator, z, passes):
    """Jᵀ as the batch Jacobian of the pullback u ↦ Jᵀu, which is linear in u: n_z passes over one primal."""
    with tf.GradientTape(persistent=passes is not None, watch_accessed_variables=False) as outer:
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(z)
            x = _flat_output(generator, z)
        u = tf.zeros_like(x)
        outer.watch(u)
        pulled = inner.gradient(x, z, output_gradients=u, unconnected_gradients="zero")
    transposed = outer.batch_jacobian(pulled, u, parallel_iterations=passes, unconnected_gradients="zero")
    return tf.linalg.matrix_transpose(tf.cast(transposed, z.dtype))


def _batch_jacobian(generator, z, passes):
    """The Jacobian by one reverse pass a pixel (Duckworth's tf.GradientTape.batch_jacobian)."""
    with tf.GradientTape(persistent=passes is not None, watch_accessed_variables=False) as tape:
        tape.watch(z)
        x = _flat_output(generator, z)
    return tf.cast(tape.batch_jacobian(x, z, parallel_iterations=passes, unconnected_gradients="zero"), z.dtype)


_METHODS = {"pullback": _pullback, "batch_jacobian": _batch_jacobian}


def _latents(z):
    z = tf.convert_to_tensor(z)
    checks.rank("z", z, 2, "[B, n_z]")
    if not z.dtype.is_floating:
        raise ValueError(f"z must be of floating type, found {z.dtype.name}")
    if z.shape[0] == 0:
        raise ValueError("z must hold at least one latent, found none")
    return numerics.full(z)


def _check_generator(generator, z):
    """Builds a Keras model that is not built yet, and raises ValueError where it does not take such latents."""
    if not callable(generator):
        raise ValueError(f"the generator must be callable, z [B, n_z] → images, found {generator!r}")
    shape = getattr(generator, "input_shape", None) if isinstance(generator, keras.Layer) else None
    if isinstance(shape, tuple) and len(shape) == 2 and shape[1] not in (None, z.shape[1]):
        raise ValueError(f"the generator takes latents [B, {shape[1]}], found z {list(z.shape)}")
    if isinstance(generator, keras.Layer) and not generator.built:
        generator(z[:1])


def _flat_output(generator, z):
    x = tf.convert_to_tensor(generator(z))
    if not x.dtype.is_floating:
        raise ValueError(f"the generator's output must be of floating type to be differentiated, found {x.dtype.name}")
    if x.shape.rank is None or x.shape.rank < 1 or not z.shape[:1].is_compatible_with(x.shape[:1]):
        raise ValueError(f"the generator must return [B, ...] for z {list(z.shape)}, found {x.shape}")
    width = x.shape[1:].num_elements()
    return tf.reshape(x, [tf.shape(z)[0], -1 if width is None else width])
