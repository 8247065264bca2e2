"""Measures the spectra of weights while a network trains, and sets the levels of adaptive preconditioning."""

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfjc import layers
from tfjc.callbacks._periodic import Periodic

_PLAIN = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.Conv2DTranspose)


class WeightSpectra(Periodic):
    """Measures the singular values of each layer's kernel, before the first step and at regular intervals of any `fit`.

    The layers are `tfjc.layers`' wrappers and plain Dense, Conv2D and Conv2DTranspose layers. A kernel is taken as a
    matrix [C_out, k·k·C_in] in float64. Keys of `latest` name network, layer and number:
    `weights/critic/conv_1/condition_number`. The numbers of a raw kernel are

    - `sigma_max`, `sigma_min` and `condition_number`, σ_max/σ_min; infinite where float64 cannot tell σ_min from 0;
    - `modified_condition_number`, σ_max over the mean of the smallest tenth of the singular values.

    A preconditioned kernel also has its `level` and `preconditioned_condition_number`, that of g(W/σ(W)).

    Adaptive layers get their level here (`Preconditioning.update_level`): before the first step, from the initial
    weights as in the authors' code, and then every `every` steps. A level depends on weights alone, and
    `tfjc.models` count steps in a weight. A resumed run therefore chooses the same levels as an uninterrupted one.

    Args:
      networks: {name: Keras model}, such as {"critic": critic}.
      every: steps between measurements; 1,000 in the published adaptive preconditioning.
      log_dir: TensorBoard's directory, for scalars and a histogram of each kernel's singular values.

    Attributes:
      latest: the newest measurement, a flat dict.
      singular_values: {`weights/NETWORK/LAYER`: the kernel's singular values, descending}.

    Raises:
      ValueError: `networks` is not such a dict, or none of the networks has a kernel.
    """

    def __init__(
        self, networks: Mapping[str, keras.Model], every: int = 1000, *, log_dir: str | os.PathLike | None = None
    ) -> None:
        super().__init__(every, log_dir)
        if not isinstance(networks, dict) or not all(isinstance(n, keras.Model) for n in networks.values()):
            raise ValueError(
                f"networks must be models of Keras 3 by name, such as {{'critic': critic}}, found {networks!r}"
            )
        self._layers = {
            f"weights/{name}/{path}": layer for name, network in networks.items() for path, layer in _kernels(network)
        }
        if not self._layers:
            raise ValueError(f"no kernel to measure in {', '.join(networks) or 'no network'}")
        self.latest: dict[str, float] = {}
        self.singular_values: dict[str, np.ndarray] = {}
        self._measured_at: int | None = None

    def at(self, step: int) -> dict[str, float]:
        """`latest` if it was measured at `step`, else an empty dict."""
        return self.latest if step == self._measured_at else {}

    def act(self, step: int, logs: dict[str, Any]) -> None:
        """Measures every kernel that is built, and sets the adaptive levels."""
        built = {name: layer for name, layer in self._layers.items() if layer.built}
        self.singular_values = {name: _singular_values(layer) for name, layer in built.items()}
        for name, layer in built.items():
            if isinstance(layer, layers.Preconditioning) and layer.adaptive and (step or not layer.has_chosen):
                found = layers.modified_condition_number(self.singular_values[name])
                if not np.isnan(found):  # a diverged kernel has no spectrum
                    layer.update_level(found)
        self.latest = {
            f"{name}/{what}": value
            for name, layer in built.items()
            for what, value in _summary(layer, self.singular_values[name]).items()
        }
        self._measured_at = step
        if self._writer:
            self._summarise()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Does nothing. Levels change only at whole intervals, so that extending a finished run equals one long run."""

    def _summarise(self):
        for name, value in self.latest.items():
            tf.summary.scalar(name, value)
        for name, values in self.singular_values.items():
            tf.summary.histogram(f"{name}/singular_values", values)


def _kernels(network):
    """(path, layer) of every layer with a kernel, in order. `inner/conv_1` is a layer of a nested model."""
    for layer in network._flatten_layers(recursive=False, include_self=False):
        if isinstance(layer, (layers.SpectralNormalization, *_PLAIN)):
            yield layer.name, layer
        else:
            yield from ((f"{layer.name}/{path}", found) for path, found in _kernels(layer))


def _singular_values(layer):
    """Singular values of the raw kernel, float64, descending; 0 where float64 cannot tell, nan if it is not finite."""
    matrix = np.asarray(layers.kernel_matrix(layer), np.float64)
    if not np.isfinite(matrix).all():
        return np.full(min(matrix.shape), np.nan)
    values = np.linalg.svd(matrix, compute_uv=False)
    values[values <= values[0] * max(matrix.shape) * np.finfo(np.float64).eps] = 0
    return values


def _summary(layer, values):
    summary = {
        "sigma_max": float(values[0]),
        "sigma_min": float(values[-1]),
        "condition_number": _condition_number(values),
        "modified_condition_number": float(layers.modified_condition_number(values)),
    }
    if isinstance(layer, layers.Preconditioning):
        level = layer.current_level
        lifted = np.sort(layers.polynomial(values / (values[0] or 1), level))[::-1]
        summary |= {"level": level, "preconditioned_condition_number": _condition_number(lifted)}
    return summary


def _condition_number(values):
    return float(values[0] / values[-1]) if values[-1] != 0 else np.inf
