"""Watches the conditioning of a generator while it trains."""

import logging
import operator

import numpy as np
import tensorflow as tf

from tfjc import checks, evaluators
from tfjc.callbacks._periodic import Periodic

_COLLAPSE = (
    "the median quotient ‖G(z) − G(z')‖/‖z − z'‖ fell to {value:.3g}, below {threshold:g}: images hardly change with z "
    "any more, as when a generator collapses. Look at samples; go back to an earlier checkpoint and train on with "
    "tfjc.penalties.JacobianClamping (its λ_min holds the quotient up), or a lower learning rate."
)
_ILL = (
    "the generator's mean log-condition number rose to {value:.3g}, above {threshold:g}: some directions in z move "
    "the image {ratio:.1e} times less than others, and such generators tend to miss modes. Look at the spectrum "
    "(spectrum.plot()); try tfjc.penalties.JacobianClamping, whose interval squeezes it, or a lower learning rate."
)


class _Alarm:
    """Logs a warning when a measurement goes past a threshold that it kept before."""

    def __init__(self, name, threshold, past, read, message):
        self.threshold = None if threshold is None else checks.real(name, threshold)
        self._past, self._read, self._message, self._armed = past, read, message, False

    def check(self, step, measured):
        """Warns on the way out; is armed again by the way back."""
        if self.threshold is None:
            return
        value = self._read(measured)
        outside = self._past(value, self.threshold)
        if outside and self._armed:
            ratio = float(np.exp(value / 2.0))
            message = self._message.format(value=value, threshold=self.threshold, ratio=ratio)
            logging.getLogger("tfjc").warning("step %d: %s", step, message)
        self._armed = not outside


class Conditioning(Periodic):
    """Measures a generator's spectrum and quotients on fixed latents during any `model.fit`.

    Adds `mean_log_condition` to Keras's progress line and history, keeps all measurements in `history` and the newest
    in `latest`, and with `log_dir` writes scalars and a histogram of ln σ for TensorBoard. Logs a warning when a
    generator that was well goes past one of the thresholds, and another only after it has come back.

    Args:
      generator: callable z [B, n_z] → images; a Keras model is called in inference mode.
      z: latents [B, n_z], which stay fixed (Odena et al. 2018, section 3).
      every: steps between measurements.
      log_dir: TensorBoard's directory.
      alarm_quotient: the median quotient below which the generator is taken to collapse; None for no such alarm.
      alarm_log_condition: the mean log-condition number above which to warn; None, the default, for no such alarm: what
        is much depends on the network.
      labels, clamping, chunk, seed: as in `tfjc.evaluators.ConditioningEvaluator`.

    Raises:
      ValueError: an argument is out of range, or z is not [B, n_z].
    """

    def __init__(
        self,
        generator,
        z,
        every=500,
        *,
        log_dir=None,
        alarm_quotient=0.05,
        alarm_log_condition=None,
        labels=None,
        clamping=None,
        chunk=None,
        seed=0,
    ):
        super().__init__(every, log_dir)
        self.generator = generator
        self.evaluator = evaluators.ConditioningEvaluator(z, labels=labels, clamping=clamping, chunk=chunk, seed=seed)
        self._alarms = [
            _Alarm("alarm_quotient", alarm_quotient, operator.lt, lambda m: m["quotient_quantiles"]["0.5"], _COLLAPSE),
            _Alarm("alarm_log_condition", alarm_log_condition, operator.gt, lambda m: m["mean_log_condition"], _ILL),
        ]
        self.history, self.latest, self.spectrum = [], {}, None

    def act(self, step, logs):
        """Measures, and hands the result on."""
        self.spectrum, q = self.evaluator.measure(self.generator)
        self.latest = self.evaluator.summary(self.spectrum, q)
        self.history.append({"step": step, **self.latest})
        logs["mean_log_condition"] = self.latest["mean_log_condition"]
        for alarm in self._alarms:
            alarm.check(step, self.latest)
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
