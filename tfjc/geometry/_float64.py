"""Copies of generators that compute in float64, to check float32 results."""

import keras
import numpy as np
import tensorflow as tf

from tfjc.geometry import _generator
from tfjc.support import keras_models, noise


def in_float64(generator: keras.Model) -> keras.Model:
    """A copy of a Keras generator that takes float64 latents and computes in float64 with the same weights.

    Raises:
      ValueError: `generator` is not a built Keras model, cannot be rebuilt from its configuration, or the copy
        computes another function.
    """
    if not keras_models.is_layer(generator) or not generator.built:
        raise ValueError(f"only a built Keras model can be cloned in float64, found {type(generator).__name__}")
    library = keras_models.library(generator)
    floatx, policy = library.backend.floatx(), library.mixed_precision.global_policy()
    library.backend.set_floatx("float64")
    library.mixed_precision.set_global_policy("float64")
    try:
        clone = _clone(generator, library)
    except (ValueError, TypeError, NotImplementedError) as error:
        name, reason = type(generator).__name__, _generator.summary(error)
        raise ValueError(f"{name} cannot be rebuilt from its configuration: {reason}") from error
    finally:
        library.backend.set_floatx(floatx)
        library.mixed_precision.set_global_policy(policy)
    clone.set_weights([np.asarray(weight, "float64") for weight in generator.get_weights()])
    _check_same(clone, generator)
    return clone


def _check_same(clone, generator):
    """Raises ValueError where the copy computes another function: two of the generator's classes may share a name."""
    shape = getattr(generator, "input_shape", None)
    if not isinstance(shape, tuple) or None in shape[1:]:
        return
    z = tf.random.stateless_normal([4, *shape[1:]], noise.seed(0, noise.Stream.REFEREE_LATENTS))
    wide, narrow = np.asarray(_generator.run(clone, tf.cast(z, "float64"))), np.asarray(_generator.run(generator, z))
    epsilon = _generator.inspect(generator, z).epsilon if len(shape) == 2 else 2.0**-7
    close = np.linalg.norm(wide - narrow) <= 1e4 * epsilon * np.linalg.norm(narrow) + 1e-30
    if not close and not _generator.draws_noise(generator, z):  # float64 draws other random numbers
        raise ValueError(
            f"the float64 copy of {type(generator).__name__} computes another function: do its layers share names?"
        )


def _clone(generator, library):
    wide = _widen(library.saving.serialize_keras_object(generator))
    # The generator's code is in memory already, so safe_mode would not protect from anything.
    clone = library.saving.deserialize_keras_object(wide, custom_objects=_own_code(generator), safe_mode=False)
    if not clone.built:
        clone.build(generator.input_shape)
    return clone


def _own_code(generator):
    """The generator's classes and activations by name, so that unregistered ones can be cloned."""
    layers = generator._flatten_layers()
    classes = {type(layer).__name__: type(layer) for layer in layers}
    functions = [getattr(layer, "activation", None) for layer in layers]
    return classes | {f.__name__: f for f in functions if hasattr(f, "__name__")}


_FLOATS = ("float16", "bfloat16", "float32", "mixed_float16", "mixed_bfloat16")


def _widen(config):
    """A Keras configuration in which each floating type and each dtype policy is float64."""
    if isinstance(config, dict):
        return {key: _widen(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_widen(value) for value in config)
    return "float64" if config in _FLOATS else config
