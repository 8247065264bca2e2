"""Measures the conditioning of a generator while it trains."""

import logging
import math
import operator
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc import evaluators, geometry, penalties
from tfjc.callbacks._periodic import Periodic
from tfjc.support import checks

_COLLAPSE = (
    "the median quotient ‖G(z) − G(z')‖/‖z − z'‖ fell to {value:.3g}{bound}: the images hardly change with z, as in a "
    "collapsed generator. Look at samples. Then continue from an earlier checkpoint with "
    "tfjc.penalties.JacobianClamping, whose λ_min holds the quotient up, or with a lower learning rate."
)
_ILL = (
    "the generator's mean log-condition number rose to {value:.3g}{bound}: some directions in z hardly move the image, "
    "compared with others, and such generators tend to miss modes. Look at the spectrum (spectrum.plot()). Then try "
    "tfjc.penalties.JacobianClamping, which holds the singular values in an interval, or a lower learning rate."
)
_LEFT = "step %d: %d of %d latents are measured, and the others take about %.0f s"
_SLOW = (
    "step %d: a measurement of %d latents takes %.0f s, and the steps since the one before took %.0f s: fewer latents, "
    "or a larger `every`, leave more time for training"
)
_NOTICED = 10.0  # seconds that a measurement may take whatever the steps take
_LOST = "the {what} is nan: the generator's Jacobian or images are not finite, because its weights have diverged."


class _Alarm:
    """Goes on when a measurement leaves the interval [least, most] or becomes nan, and off when it is back inside.

    Attributes:
      name: its name in records.
      is_on: whether it is on.
    """

    def __init__(self, name, what, read, message, *, least=-math.inf, most=math.inf) -> None:
        self.name, self._what, self._read, self._message = name, what, read, message
        self._least, self._most = least, most
        self.is_on, self._was_inside = False, False

    def check(self, measured):
        """Takes a measurement into account; returns the warning where the value has just left the interval, or None.

        A value that was not measured (None) changes nothing.
        """
        value = self._read(measured)
        if value is None:
            return None
        inside = self._least <= value <= self._most
        has_left, self._was_inside = self._was_inside and not inside, inside
        self.is_on = has_left or (self.is_on and not inside)
        message = _LOST if math.isnan(value) else self._message
        return message.format(value=value, bound=self._bound(value), what=self._what) if has_left else None

    def resume(self, measured):
        """Sets the state to that after a recorded measurement."""
        value = self._read(measured)
        self._was_inside = value is not None and self._least <= value <= self._most
        self.is_on = self.name in measured.get("alarms", ())

    def describe(self, measured):
        """The value and the bound that it has crossed, as text; None where the alarm is off or the value is nan."""
        value = self._read(measured) if self.name in measured.get("alarms", ()) else None
        if value is None or math.isnan(value):
            return None
        return f"the {self._what} is {value:.3g}{self._bound(value)}"

    def _bound(self, value):
        limit = self._least if value < self._least else self._most
        return "" if limit == sys.float_info.max else f", {'below' if limit == self._least else 'above'} {limit:g}"


def _median_quotient(measured):
    return measured["quotient_quantiles"]["0.5"] if "quotient_quantiles" in measured else None


class Conditioning(Periodic):
    """Measures a generator's spectrum and quotients at fixed latents during any `model.fit`.

    Adds `mean_log_condition` to Keras's progress line and history. With `log_dir` it writes scalars and a histogram
    of ln σ for TensorBoard. When a measurement crosses a threshold, it logs a warning, which TensorBoard gets as text.
    A second warning comes only after the measurement has recovered. Until then each measurement lists the alarm:
    `alarms` is a list of "quotient" and "log_condition". A generator whose noise cannot be repeated gets no quotients
    and no alarm on them; a warning says so. A warning says how long a first measurement of more than ten seconds will
    take, and another one that a measurement takes longer than the steps between two measurements.

    Args:
      generator: callable z [B, n_z] → images. A Keras model is called in inference mode.
      z: latents [B, n_z], fixed for all measurements (Odena et al. 2018, section 3).
      every: steps between measurements.
      log_dir: TensorBoard's directory.
      alarm_quotient: warn where the median quotient falls below this value, a sign of collapse; None for no alarm.
      alarm_log_condition: warn where the mean log-condition number rises above this value. None warns only of an
        infinite one, because usual values depend on the network.
      stop_on_collapse: end the training where the median quotient falls below `alarm_quotient`, or the mean
        log-condition number rises above an `alarm_log_condition` that is given. The callbacks of that step still run.
      labels, clamping, chunk, seed: as in `tfjc.evaluators.ConditioningEvaluator`.

    Attributes:
      history: all measurements, dicts with the key `step`.
      latest: the newest measurement.
      spectrum: the newest `tfjc.geometry.Spectrum`.

    Raises:
      ValueError: an argument is out of range, or z is not [B, n_z].
    """

    def __init__(
        self,
        generator: geometry.Generator,
        z: ArrayLike | tf.Tensor,
        every: int = 500,
        *,
        log_dir: str | os.PathLike | None = None,
        alarm_quotient: float | None = 0.05,
        alarm_log_condition: float | None = None,
        stop_on_collapse: bool = False,
        labels: ArrayLike | tf.Tensor | None = None,
        clamping: penalties.JacobianClamping | None = None,
        chunk: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(every, log_dir)
        self.generator = generator
        self.evaluator = evaluators.ConditioningEvaluator(z, labels=labels, clamping=clamping, chunk=chunk, seed=seed)
        least = -math.inf if alarm_quotient is None else checks.real("alarm_quotient", alarm_quotient, minimum=0)
        most = sys.float_info.max  # only an infinite value is above
        if alarm_log_condition is not None:
            most = checks.real("alarm_log_condition", alarm_log_condition, minimum=0)
        self.stop_on_collapse = checks.boolean("stop_on_collapse", stop_on_collapse)
        of_quotient = _Alarm("quotient", "median quotient", _median_quotient, _COLLAPSE, least=least)
        read = operator.itemgetter("mean_log_condition")
        of_condition = _Alarm("log_condition", "mean log-condition number", read, _ILL, most=most)
        self._alarms = [of_quotient, of_condition]
        self._of_collapse = [of_quotient, *([of_condition] if alarm_log_condition is not None else [])]
        self.history: list[dict[str, Any]] = []
        self.latest: dict[str, Any] = {}
        self.spectrum: geometry.Spectrum | None = None
        self._ended, self._slow = -math.inf, False  # when the measurement before ended; whether it was warned of

    def act(self, step: int, logs: dict[str, Any]) -> None:
        """Measures, records the result, and warns where a threshold was crossed."""
        began = time.monotonic()
        self.spectrum, q = self.evaluator.measure(
            self.generator, None if self.history else self._foretelling(step, began)
        )
        self._check_pace(step, began)
        self.latest = self.evaluator.summary(self.spectrum, q)
        if q is None and not self.history:
            logging.getLogger("tfjc").warning("no quotients are measured: %s", self.latest["no_quotient"])
        warnings = {alarm.name: warning for alarm in self._alarms if (warning := alarm.check(self.latest))}
        self.latest["alarms"] = [alarm.name for alarm in self._alarms if alarm.is_on]
        self.history.append({"step": step, **self.latest})
        logs["mean_log_condition"] = self.latest["mean_log_condition"]
        for warning in warnings.values():
            logging.getLogger("tfjc").warning("step %d: %s", step, warning)
        if self._writer:
            self._summarise(q)
            for name, warning in warnings.items():
                tf.summary.text(f"conditioning/alarm/{name}", warning)
        if self.collapse(self.latest):
            self.model.stop_training = True

    def collapse(self, measured: Mapping[str, Any]) -> str | None:
        """Why the training ends after a measurement, as text; None where it goes on.

        Args:
          measured: an entry of `history`, or a row of `metrics.jsonl`.
        """
        found = [alarm.describe(measured) for alarm in self._of_collapse] if self.stop_on_collapse else []
        return next(filter(None, found), None)

    def resume(self, measured: Mapping[str, Any]) -> None:
        """Sets the alarms to their state after a measurement of an earlier session; `measured` as in `collapse`."""
        self.latest = dict(measured)
        for alarm in self._alarms:
            alarm.resume(measured)

    def _foretelling(self, step, began):
        """A function that is told of finished latents, and says once how long the others will take."""
        counts = []

        def progress(count):
            counts.append(count)
            left = (time.monotonic() - began) * (len(self.evaluator.z) / sum(counts) - 1.0)
            if len(counts) == 1 and left > _NOTICED:
                logging.getLogger("tfjc").warning(_LEFT, step, sum(counts), len(self.evaluator.z), left)

        return progress

    def _check_pace(self, step, began):
        """Warns once where a measurement takes longer than the steps before it. The first one also traces."""
        before, self._ended = began - self._ended, time.monotonic()
        took = self._ended - began
        if took > max(_NOTICED, before) and not self._slow:
            self._slow = True
            logging.getLogger("tfjc").warning(_SLOW, step, len(self.evaluator.z), took, before)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the newest `mean_log_condition` to Keras's logs of the epoch."""
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
