"""Finds the layers of a network that draw noise or normalise a batch, and warns of those that cause errors."""

import warnings
from collections.abc import Iterable

import keras

from tfjc import layers
from tfjc.support import replicas


def noise_states(network: keras.Model) -> list[keras.Variable]:
    """The states of the seeds from which a network's layers draw noise: the variables that are not weights."""
    weights = {id(v) for v in network.weights}
    return [v for v in network.non_trainable_variables if id(v) not in weights]


def normalises(network: keras.Model) -> bool:
    """Whether a network has batch normalisation."""
    return any("moving_mean" in v.path for v in network.non_trainable_variables)


def warn_of_replicas(networks: Iterable[keras.Model | None]) -> None:
    """Warns of layers that make an update depend on the number of replicas."""
    found = _layers(networks)
    apart = [layer.name for layer in found if _is_keras_normalization(layer) and not layer.synchronized]
    noisy = [layer.name for layer in found if getattr(layer, "seed_generator", None) is not None]
    count = replicas.count()
    if count > 1 and apart:
        warnings.warn(
            f"each of {count} replicas normalises its own part of a batch in {', '.join(apart)}: use "
            "tfjc.layers.BatchNormalization",
            stacklevel=4,
        )
    if count > 1 and noisy:
        warnings.warn(f"all {count} replicas draw the same noise in the layers {', '.join(noisy)}", stacklevel=4)


def warn_of_second_derivatives(networks: Iterable[keras.Model | None]) -> None:
    """Warns of layers with a wrong second derivative in TensorFlow in training mode."""
    wrong = [layer.name for layer in _layers(networks) if _is_keras_normalization(layer) and not layer.synchronized]
    if wrong:
        warnings.warn(
            f"TensorFlow's second derivative of {', '.join(wrong)} is not right (tf.nn.moments holds the mean constant "
            "in the variance): use tfjc.layers.BatchNormalization",
            stacklevel=4,
        )


def _layers(networks):
    return [layer for network in networks if isinstance(network, keras.Model) for layer in network._flatten_layers()]


def _is_keras_normalization(layer):
    return isinstance(layer, keras.layers.BatchNormalization) and not isinstance(layer, layers.BatchNormalization)
