"""Watches the conditioning of a generator while it trains."""

import logging
import math
import sys

import numpy as np
import tensorflow as tf

from tfjc import evaluators
from tfjc.callbacks._periodic import Periodic
from tfjc.support import checks

_COLLAPSE = (
    "the median quotient ‖G(z) − G(z')‖/‖z − z'‖ fell to {value:.3g}{bound}: images hardly change with z any more, as "
    "when a generator collapses. Look at samples; go back to an earlier checkpoint and train on with "
    "tfjc.penalties.JacobianClamping (its λ_min holds the quotient up), or a lower learning rate."
)
_ILL = (
    "the generator's mean log-condition number rose to {value:.3g}{bound}: some directions in z hardly move the image "
    "any more, beside others, and such generators tend to miss modes. Look at the spectrum (spectrum.plot()); try "
    "tfjc.penalties.JacobianClamping, whose interval squeezes it, or a lower learning rate."
)
_LOST = "the generator's Jacobian or images are not finite any more ({name} is nan): its weights have diverged."


class _Alarm:
    """Logs a warning when a measurement that was well goes past a threshold, or is nan."""

    def __init__(self, name, read, message, *, least=-math.inf, most=math.inf):
        self._name, self._read, self._message = name, read, message
        self._least, self._most, self._armed = least, most, False

    def check(self, step, measured):
        """Warns on the way out; is armed again by the way back. Nothing happens where the value was not measured."""
        value = self._read(measured)
        if value is None:
            return
        well = self._least <= value <= self._most
        if self._armed and not well:
            limit = self._least if value < self._least else self._most
            bound = "" if limit == sys.float_info.max else f", {'below' if limit == self._least else 'above'} {limit:g}"
            message = _LOST if math.isnan(value) else self._message
            message = message.format(value=value, bound=bound, name=self._name)
            logging.getLogger("tfjc").warning("step %d: %s", step, message)
        self._armed = well


def _median_quotient(measured):
    return measured["quotient_quantiles"]["0.5"] if "quotient_quantiles" in measured else None


class Conditioning(Periodic):
    """Measures a generator's spectrum and quotients on fixed latents during any `model.fit`.

    Adds `mean_log_condition` to Keras's progress line and history, keeps all measurements in `history` and the newest
    in `latest`, and with `log_dir` writes scalars and a histogram of ln σ for TensorBoard. Logs a warning when a
    generator that was well goes past one of the thresholds, and another only after it has come back. Quotients are
    left out, with a warning, of a generator that draws noise which cannot be repeated: there is no alarm of them then.

    Args:
      generator: callable z [B, n_z] → images; a Keras model is called in inference mode.
      z: latents [B, n_z], which stay fixed (Odena et al. 2018, section 3).
      every: steps between measurements.
      log_dir: TensorBoard's directory.
      alarm_quotient: the median quotient below which the generator is taken to collapse; None for no such alarm.
      alarm_log_condition: the mean log-condition number above which to warn; None, the default, warns only where it is
        infinite: what is much depends on the network.
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
        least = -math.inf if alarm_quotient is None else checks.real("alarm_quotient", alarm_quotient, minimum=0)
        most = sys.float_info.max  # which only an infinite value is above
        if alarm_log_condition is not None:
            most = checks.real("alarm_log_condition", alarm_log_condition, minimum=0)
        self._alarms = [
            _Alarm("the quotient", _median_quotient, _COLLAPSE, least=least),
            _Alarm("the log-condition number", lambda m: m["mean_log_condition"], _ILL, most=most),
        ]
        self.history, self.latest, self.spectrum = [], {}, None

    def act(self, step, logs):
        """Measures, and hands the result on."""
        self.spectrum, q = self.evaluator.measure(self.generator)
        self.latest = self.evaluator.summary(self.spectrum, q)
        if q is None and not self.history:
            logging.getLogger("tfjc").warning("no quotients are measured: %s", self.latest["no_quotient"])
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
            for quantile, value in self.latest.get(name, {}).items():
                tf.summary.scalar(f"{name}/{quantile}", value)
        values = self.spectrum.singular_values
        tf.summary.histogram("conditioning/log_singular_values", np.log(values[values > 0]))
        if q is not None:
            tf.summary.histogram("conditioning/quotient", q)
