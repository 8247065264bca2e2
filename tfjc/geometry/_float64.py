"""Generators in float64: the referee of the float32 ones."""

import keras
import numpy as np
import tensorflow as tf

from tfjc.geometry import _generator
from tfjc.support import noise


def in_float64(generator):
    """A copy of a Keras generator that computes in float64 with the same weights; takes float64 latents.

    Raises ValueError for anything but a built Keras model that can be made again from its configuration.
    """
    if not isinstance(generator, keras.Layer) or not generator.built:
        raise ValueError(f"only a built Keras model can be cloned in float64, found {type(generator).__name__}")
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        clone = _clone(generator)
    except (ValueError, TypeError, NotImplementedError) as error:
        name, reason = type(generator).__name__, _generator.summary(error)
        raise ValueError(f"{name} cannot be made again from its configuration: {reason}") from error
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
    clone.set_weights([tf.cast(weight, "float64") for weight in generator.weights])
    _check_same(clone, generator)
    return clone


def _check_same(clone, generator):
    """Raises ValueError where the copy is another function, as when two of the generator's classes share a name."""
    shape = getattr(generator, "input_shape", None)
    if not isinstance(shape, tuple) or None in shape[1:]:
        return
    z = tf.random.stateless_normal([4, *shape[1:]], noise.seed(0, noise.Stream.REFEREE_LATENTS))
    wide, narrow = np.asarray(_generator.run(clone, tf.cast(z, "float64"))), np.asarray(_generator.run(generator, z))
    epsilon = _generator.inspect(generator, z).epsilon if len(shape) == 2 else 2.0**-7
    close = np.linalg.norm(wide - narrow) <= 1e4 * epsilon * np.linalg.norm(narrow) + 1e-30
    if not close and not _generator.draws_noise(generator, z):  # other noise in float64 is no other function
        raise ValueError(
            f"the float64 copy of {type(generator).__name__} is another function: do its layers share names?"
        )


def _clone(generator):
    wide = _widen(keras.saving.serialize_keras_object(generator))
    # Whatever code it holds is in memory already, so that safe_mode would protect from nothing.
    clone = keras.saving.deserialize_keras_object(wide, custom_objects=_own_code(generator), safe_mode=False)
    if not clone.built:
        clone.build(generator.input_shape)
    return clone


def _own_code(generator):
    """Classes and activations of a generator by name: they need not be registered with Keras to be cloned."""
    layers = generator._flatten_layers()
    classes = {type(layer).__name__: type(layer) for layer in layers}
    functions = [getattr(layer, "activation", None) for layer in layers]
    return classes | {f.__name__: f for f in functions if hasattr(f, "__name__")}


_FLOATS = ("float16", "bfloat16", "float32", "mixed_float16", "mixed_bfloat16")


def _widen(config):
    """A configuration with every floating type, and every policy of such, made float64."""
    if isinstance(config, dict):
        return {key: _widen(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_widen(value) for value in config)
    return "float64" if config in _FLOATS else config
