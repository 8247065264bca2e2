"""Watches the spectra of weights while a network trains, and sets the levels of adaptive preconditioning."""

import keras
import numpy as np
import tensorflow as tf

from tfjc import layers
from tfjc.callbacks._periodic import Periodic

_PLAIN = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.Conv2DTranspose)


class WeightSpectra(Periodic):
    """Decomposes the kernels of networks, layer by layer, before the first step and every so many steps of any `fit`.

    Measured are `tfjc.layers`' wrappers and plain Dense, Conv2D and Conv2DTranspose layers, each kernel as a matrix
    [C_out, k·k·C_in], in float64. `latest` is flat: `weights/critic/conv_1/condition_number` is what of which layer of
    which network. Of every raw kernel there are

    - `sigma_max`, `sigma_min` and `condition_number`, σ_max/σ_min (infinite where float64 cannot tell σ_min from 0),
    - `modified_condition_number`, σ_max over the mean of the smallest tenth of the singular values;

    of a preconditioned one also its `level`, and `preconditioned_condition_number`, that of g(W/σ(W)).

    Adaptive layers get their level here (`Preconditioning.update_level`): before the first step, from the initial
    weights as in the authors' code, and every `every` steps; not at the end of a `fit` in between. What a level is
    chosen by is a weight of its layer, and `tfjc.models` count their steps in a weight, so that a run that goes on from
    a checkpoint chooses the levels of one that was never stopped.

    Args:
      networks: {name: Keras model}, such as {"critic": critic}.
      every: steps between measurements; the published adaptive preconditioning has 1,000.
      log_dir: TensorBoard's directory, for scalars and a histogram of the singular values of each kernel.

    Raises:
      ValueError: `networks` is no such dict, or none of them has a kernel.
    """

    def __init__(self, networks, every=1000, *, log_dir=None):
        super().__init__(every, log_dir)
        if not isinstance(networks, dict) or not all(isinstance(n, keras.Model) for n in networks.values()):
            raise ValueError(f"networks must be Keras models by name, such as {{'critic': critic}}, found {networks!r}")
        self._layers = {
            f"weights/{name}/{path}": layer for name, network in networks.items() for path, layer in _kernels(network)
        }
        if not self._layers:
            raise ValueError(f"no kernel to measure in {', '.join(networks) or 'no network'}")
        self.latest, self.singular_values, self._measured_at = {}, {}, None

    def at(self, step):
        """`latest` if it was measured at `step`, else an empty dict."""
        return self.latest if step == self._measured_at else {}

    def act(self, step, logs):
        """Measures every kernel that is built, sets the adaptive levels, hands the numbers on."""
        built = {name: layer for name, layer in self._layers.items() if layer.built}
        self.singular_values = {name: _singular_values(layer) for name, layer in built.items()}
        for name, layer in built.items():
            if isinstance(layer, layers.Preconditioning) and layer.adaptive and (step or not layer.has_chosen):
                found = layers.modified_condition_number(self.singular_values[name])
                if not np.isnan(found):  # a diverged kernel has no spectrum to choose by
                    layer.update_level(found)
        self.latest = {
            f"{name}/{what}": value
            for name, layer in built.items()
            for what, value in _summary(layer, self.singular_values[name]).items()
        }
        self._measured_at = step
        if self._writer:
            self._summarise()

    def on_train_end(self, logs=None):
        """Nothing: levels change at whole intervals only, so that a run made longer is one that never stopped."""

    def _summarise(self):
        for name, value in self.latest.items():
            tf.summary.scalar(name, value)
        for name, values in self.singular_values.items():
            tf.summary.histogram(f"{name}/singular_values", values)


def _kernels(network):
    """(path, layer) of every layer with a kernel, in order; `inner/conv_1` is in a network within."""
    for layer in network._flatten_layers(recursive=False, include_self=False):
        if isinstance(layer, (layers.SpectralNormalization, *_PLAIN)):
            yield layer.name, layer
        else:
            yield from ((f"{layer.name}/{path}", found) for path, found in _kernels(layer))


def _singular_values(layer):
    """Of the raw kernel, descending, in float64; 0 where float64 cannot tell, nan if the kernel is not finite."""
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
