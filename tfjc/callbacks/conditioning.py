"""Watches the conditioning of a generator while it trains."""

import numpy as np
import tensorflow as tf

from tfjc import evaluators
from tfjc.callbacks._periodic import Periodic


class Conditioning(Periodic):
    """Measures a generator's spectrum and quotients on fixed latents during any `model.fit`.

    Adds `mean_log_condition` to Keras's progress line and history, keeps all measurements in `history` and the newest
    in `latest`, and with `log_dir` writes scalars and a histogram of ln σ for TensorBoard.

    Args:
      generator: callable z [B, n_z] → images; a Keras model is called in inference mode.
      z: latents [B, n_z], which stay fixed (Odena et al. 2018, section 3).
      every: steps between measurements.
      log_dir: TensorBoard's directory.
      clamping, chunk, seed: as in `tfjc.evaluators.ConditioningEvaluator`.

    Raises:
      ValueError: an argument is out of range, or z is not [B, n_z].
    """

    def __init__(self, generator, z, every=500, *, log_dir=None, clamping=None, chunk=None, seed=0):
        super().__init__(every, log_dir)
        self.generator = generator
        self.evaluator = evaluators.ConditioningEvaluator(z, clamping=clamping, chunk=chunk, seed=seed)
        self.history, self.latest, self.spectrum = [], {}, None

    def act(self, step, logs):
        """Measures, and hands the result on."""
        self.spectrum, q = self.evaluator.measure(self.generator)
        self.latest = self.evaluator.summary(self.spectrum, q)
        self.history.append({"step": step, **self.latest})
        logs["mean_log_condition"] = self.latest["mean_log_condition"]
        if self._writer:
            self._summarise(q)

    def on_epoch_end(self, epoch, logs=None):
        """Hands the newest mean on to Keras's line and history of the epoch."""
        if logs is not None and self.latest:
            logs["mean_log_condition"] = self.latest["mean_log_condition"]

    def _summarise(self, q):
        for name, value in self.latest.items():
            if isinstance(value, float):
                tf.summary.scalar(f"conditioning/{name}", value)
        for name in ("log_condition_quantiles", "quotient_quantiles"):
            for quantile, value in self.latest[name].items():
                tf.summary.scalar(f"{name}/{quantile}", value)
        values = self.spectrum.singular_values
        tf.summary.histogram("conditioning/log_singular_values", np.log(values[values > 0]))
        tf.summary.histogram("conditioning/quotient", q)
