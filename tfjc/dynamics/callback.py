"""Lyapunov exponents of a training run, from perturbed copies that train beside it."""

import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfjc.callbacks._periodic import Periodic
from tfjc.dynamics import lyapunov
from tfjc.support import checks, noise


class Lyapunov(Periodic):
    """Measures the rate at which nearby networks separate or approach while a GAN of `tfjc.models` trains.

    k copies of the run start at the distance `distance`·‖weights‖ in orthogonal directions of weight space. They take
    the same steps on the same batches with the same noise. After each interval the differences are factorised. Their
    growth per step gives the finite-time exponents in descending order. The differences are then rescaled to
    `distance`·‖weights‖ (Benettin et al. 1980; proposed for GANs by Guttenberg 2016). An exponent is negative where
    nearby trainings approach, as near a fixed point. It is 0 where they keep their distance, as on a cycle. It is
    positive where they separate: training diverges, is chaotic or passes a saddle.

    Keras gives callbacks no data. But a step of `GAN` is a function of (weights, optimisers' state, step, images), and
    `datasets.batches` gives the images as a function of the step. So the callback repeats the run's steps for each copy
    in the model itself, and then restores every variable. The run continues bit for bit as without the callback.

    Gradients of networks with kinks (ReLU) jump, so copies at any distance separate by finite steps, and the exponents
    grow as `distance` shrinks. Compare two distances before you trust an exponent.

    The differences are those of the weights and of the optimisers' floating-point variables. A perturbation never makes
    an optimiser's number negative that has never been negative, such as a second moment. All other variables, such as
    moving averages of batch normalisation, start each interval with the run's values.

    Keras's progress line shows the largest exponent of the interval as `lyapunov`. With `log_dir`, TensorBoard shows
    all exponents.

    Args:
      batches: callable (start) → tf.data.Dataset of the run's batches from step `start` on. For
        `gan.fit(images, batch_size)` this is
        `functools.partial(datasets.batches, images, gan.d_steps * batch_size, seed=gan.seed)`.
      copies: k, the number of leading exponents. Each copy costs as much as the run itself.
      every: steps between measurements.
      distance: distance of the copies from the run, relative to the norm of the weights. It must be well above
        rounding, and stay well below 1 for `every` steps.
      seed: seed of the first perturbations.
      log_dir: TensorBoard's directory.

    Attributes:
      history: a dict for each measurement, with `step`, `lyapunov` [k] over the interval and `mean_lyapunov` [k] since
        the callback began.

    Raises:
      ValueError: an argument is out of range, or the repeated steps of the run end at other weights than the run.
    """

    def __init__(
        self,
        batches: Callable[..., tf.data.Dataset],
        copies: int = 1,
        every: int = 100,
        *,
        distance: float = 1e-3,
        seed: int = 0,
        log_dir: str | os.PathLike | None = None,
    ) -> None:
        super().__init__(every, log_dir)
        if not callable(batches):
            raise ValueError(f"batches must be a function of the first step, found {type(batches).__name__}")
        self.batches = batches
        self.copies = checks.integer("copies", copies, minimum=1)
        self.distance = checks.real("distance", distance, above=0.0)
        self.seed = checks.seed("seed", seed)
        self.history: list[dict[str, Any]] = []
        self._frame: np.ndarray | None = None
        self._growth: np.ndarray | float = 0.0
        self._steps = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts at the model's state, with the perturbations of an earlier `fit` if there was one."""
        self._twin, self._checked = _Twin(self.model), False
        self._at, self._before = int(self.model.step.numpy()), self._twin.read()
        self._nonnegative = (self._before.flat >= 0) & (np.arange(len(self._before.flat)) >= self._twin.weights)
        if self._frame is None or len(self._frame) != len(self._before.flat):
            self._frame = self._first_frame()
        data = self.batches(start=self._at)
        self._batches = [iter(data) for _ in range(self.copies + 1)]
        super().on_train_begin(logs)

    def act(self, step: int, logs: dict[str, Any]) -> None:
        """Repeats the steps since the last measurement with each copy, and records the growth of the differences."""
        count = step - self._at
        if not count:
            return
        now = self._twin.read()
        try:
            self._check(now, count)
            differences = np.stack([copy - now.flat for copy in self._trained(count)], axis=1)
        finally:
            self._twin.write(now)
        growth, self._frame = lyapunov.renormalise(differences / self._length())
        self._at, self._before = step, now
        self._record(step, growth, count, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the last exponent to Keras's progress line and history."""
        if logs is not None and self.history:
            logs["lyapunov"] = self.history[-1]["lyapunov"][0]

    def _first_frame(self) -> np.ndarray:
        """Orthonormal directions in weight space, [n, k]. They are 0 at the optimisers' numbers."""
        weights = self._twin.weights
        if self.copies > weights:
            raise ValueError(f"copies must be at most the number of weights, {weights}, found {self.copies}")
        frame = np.linalg.qr(noise.rng(self.seed, noise.Stream.LYAPUNOV).standard_normal([weights, self.copies]))[0]
        return np.pad(frame, [(0, len(self._before.flat) - weights), (0, 0)])

    def _length(self):
        """The distance of the copies from the run at the start of the interval."""
        return self.distance * (np.linalg.norm(self._before.flat[: self._twin.weights]) or 1.0)

    def _trained(self, count):
        """Yields the flat state of each copy after `count` steps."""
        for direction, data in zip(self._frame.T, self._batches, strict=False):
            copy = self._before.flat + self._length() * direction
            copy = np.where(self._nonnegative, np.maximum(copy, 0.0), copy)
            yield self._stepped(copy, data, count)

    def _stepped(self, flat, data, count):
        flat = self._twin.step(self._before._replace(flat=flat), data, count)
        self._nonnegative &= ~(flat < 0)
        return flat

    def _check(self, now, count):
        """Raises ValueError if the run's first interval, repeated on `batches`, does not end at the run's state."""
        if self._checked:
            return
        error = np.linalg.norm(self._stepped(self._before.flat, self._batches[-1], count) - now.flat)
        if error > 0.01 * self._length():  # an error of nan passes; the exponents are then nan
            raise ValueError(
                f"{count} steps repeated on `batches` end {error:.3g} from the run's own weights: batches(start) must "
                "be the images that fit gets from step `start` on"
            )
        self._checked = True

    def _record(self, step, growth, count, logs):
        self._growth, self._steps = self._growth + growth, self._steps + count
        local, mean = growth / count, self._growth / self._steps
        self.history.append({"step": step, "lyapunov": local.tolist(), "mean_lyapunov": mean.tolist()})
        logs["lyapunov"] = float(local[0])
        if self._writer:
            for index, value in enumerate(local, start=1):
                tf.summary.scalar(f"lyapunov/{index}", value)


class _State(NamedTuple):
    """The state of a run: weights and optimisers' numbers as one flat float64 array, and all other variables."""

    flat: np.ndarray
    others: list


class _Twin:
    """A model as a function of its state: `write` sets the state, `step` trains from it, `read` returns it."""

    def __init__(self, model: keras.Model) -> None:
        if getattr(model, "critic", None) is None:
            raise ValueError(f"Lyapunov needs a model with a generator and a critic, found a {type(model).__name__}")
        optimizers = [model.generator_optimizer, model.critic_optimizer]
        numbers = [v for optimizer in optimizers for v in optimizer.variables]
        weights = [*model.generator.trainable_variables, *model.critic.trainable_variables]
        self._flat = [*weights, *(v for v in numbers if tf.as_dtype(v.dtype).is_floating)]
        taken = {id(v) for v in self._flat}
        candidates = {id(v): v for v in [*model.variables, *model.metrics_variables, model.watch.note, *numbers]}
        self._others = [v for key, v in candidates.items() if key not in taken]
        self._step = tf.function(model.train_step, jit_compile=model.jit_compile, autograph=False)
        self.weights = sum(math.prod(v.shape) for v in weights)

    def read(self) -> _State:
        return _State(self._read_flat(), [tf.identity(v.value) for v in self._others])

    def write(self, state: _State) -> None:
        parts = np.split(state.flat, np.cumsum([math.prod(v.shape) for v in self._flat])[:-1])
        for variable, part in zip(self._flat, parts, strict=True):
            variable.assign(part.reshape(variable.shape))
        for variable, value in zip(self._others, state.others, strict=True):
            variable.assign(value)

    def step(self, state: _State, data: Iterator, count: int) -> np.ndarray:
        """The flat state after `count` steps from `state` on the next batches of `data`."""
        self.write(state)
        for _ in range(count):
            self._step(next(data))
        return self._read_flat()

    def _read_flat(self):
        return np.concatenate([np.ravel(v) for v in self._flat]).astype(np.float64)
