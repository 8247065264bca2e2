"""Tells models and layers of Keras from other callables: those of Keras 3 and of Keras 2 (tf_keras).

The two have no base class in common. Nothing here imports tf_keras.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, TypeGuard

import keras


def is_layer(candidate: Any) -> TypeGuard[keras.Layer]:
    """Whether an object is a layer or a model of Keras 3 or of tf_keras."""
    return _is_a(candidate, "Layer")


def is_functional(candidate: Any) -> TypeGuard[keras.Model]:
    """Whether an object is a model of Keras 3 or of tf_keras that knows its inputs: a functional or sequential one."""
    return _is_a(candidate, "Model") and bool(getattr(candidate, "inputs", None))


def is_symbolic(candidate: Any) -> bool:
    """Whether an object is an input or an output of layers in a functional model of Keras 3 or of tf_keras."""
    return _is_a(candidate, "KerasTensor")


def library(layer: Any) -> ModuleType:
    """The library whose layer, operation or model this is: `keras` or `tf_keras`."""
    return sys.modules["tf_keras"] if is_layer(layer) and not isinstance(layer, keras.Layer) else keras


def _is_a(candidate, name):
    """Whether one of the object's classes is Keras's class of this name."""
    return any(
        kind.__name__ == name and kind.__module__.split(".")[0] in _LIBRARIES for kind in type(candidate).__mro__
    )


_LIBRARIES = ("keras", "tf_keras")
