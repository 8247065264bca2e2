"""Lyapunov exponents of a training run, from perturbed copies that are trained beside it."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfjc.callbacks._periodic import Periodic
from tfjc.dynamics import lyapunov
from tfjc.support import checks, noise


class Lyapunov(Periodic):
    """Measures how fast nearby networks part or meet while a GAN of `tfjc.models` trains.

    k copies of the run, perturbed by `distance`·‖weights‖ in orthogonal directions of weight space, take the same steps
    on the same batches with the same noise. After each interval the differences are factorised, their growth per step
    gives the finite-time exponents in descending order, and they are set back to that length (Benettin et al. 1980;
    proposed for GANs by Guttenberg 2016). Negative where trainings from nearby meet, as on the way to a fixed point; 0
    where they keep their distance, as on a cycle; positive where they part: training diverges, is chaotic or passes a
    saddle.

    Keras shows callbacks no data. But a step of `GAN` is a function of (weights, optimisers' state, step, images), and
    `datasets.batches` gives the images as a function of the step. So the copies' steps are the run's own, repeated
    afterwards in the model itself, whose every variable is put back then: the run goes on bit for bit as without.

    Where networks have kinks (ReLU), gradients jump, copies part by finite steps however near they are, and what is
    found grows as `distance` shrinks: compare two distances before believing a number.

    What is compared are the weights and the numbers that optimisers keep. Of these, one that was never found negative,
    such as a second moment, is not made so by a perturbation either. Everything else, such as moving averages of batch
    normalisation, is in the copies what it was in the run when the interval began.

    Each measurement is added to `history`: `step`, `lyapunov` [k] over the interval, `mean_lyapunov` [k] since the
    callback began; the largest of the interval is added to Keras's progress line, and with `log_dir` all of them to
    TensorBoard.

    Args:
      batches: callable (start) → tf.data.Dataset of the batches from step `start` on, as the run gets them: for
        `gan.fit(images, batch_size)` that is
        `functools.partial(datasets.batches, images, gan.d_steps * batch_size, seed=gan.seed)`.
      copies: k, how many of the leading exponents; each costs as much as the run itself.
      every: steps between measurements.
      distance: of the copies from the run, relative to the norm of its weights: well above rounding,
        and so small that after `every` steps it is still well below 1.
      seed: of the first perturbations.
      log_dir: TensorBoard's directory.

    Raises:
      ValueError: an argument is out of range, or repeating the run's own steps gives other weights than the run has.
    """

    def __init__(self, batches, copies=1, every=100, *, distance=1e-3, seed=0, log_dir=None):
        super().__init__(every, log_dir)
        if not callable(batches):
            raise ValueError(f"batches must be callable with the step to start at, found {type(batches).__name__}")
        self.batches = batches
        self.copies = checks.integer("copies", copies, minimum=1)
        self.distance = checks.real("distance", distance, above=0.0)
        self.seed = checks.seed("seed", seed)
        self.history, self._frame, self._growth, self._steps = [], None, 0.0, 0

    def on_train_begin(self, logs=None):
        """Begins at the model as it is, with the perturbations of an earlier `fit` if there was one."""
        self._twin, self._checked = _Twin(self.model), False
        self._at, self._before = int(self.model.step.numpy()), self._twin.read()
        self._nonnegative = (self._before.flat >= 0) & (np.arange(len(self._before.flat)) >= self._twin.weights)
        if self._frame is None or len(self._frame) != len(self._before.flat):
            self._frame = self._first_frame()
        data = self.batches(start=self._at)
        self._batches = [iter(data) for _ in range(self.copies + 1)]
        super().on_train_begin(logs)

    def act(self, step, logs):
        """Repeats the steps since the last measurement with each copy, and compares."""
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

    def on_epoch_end(self, epoch, logs=None):
        """Hands the newest exponent on to Keras's line and history of the epoch."""
        if logs is not None and self.history:
            logs["lyapunov"] = self.history[-1]["lyapunov"][0]

    def _first_frame(self):
        """Orthonormal directions in the weights, [n, k]; the optimisers' numbers are as in the run to begin with."""
        weights = self._twin.weights
        if self.copies > weights:
            raise ValueError(f"copies must be at most the number of weights, {weights}, found {self.copies}")
        frame = np.linalg.qr(noise.rng(self.seed, noise.Stream.LYAPUNOV).standard_normal([weights, self.copies]))[0]
        return np.pad(frame, [(0, len(self._before.flat) - weights), (0, 0)])

    def _length(self):
        """How far the copies were from the run when the interval began."""
        return self.distance * (np.linalg.norm(self._before.flat[: self._twin.weights]) or 1.0)

    def _trained(self, count):
        """The copies after `count` steps, each flat."""
        for direction, data in zip(self._frame.T, self._batches, strict=False):
            copy = self._before.flat + self._length() * direction
            copy = np.where(self._nonnegative, np.maximum(copy, 0.0), copy)
            yield self._stepped(copy, data, count)

    def _stepped(self, flat, data, count):
        flat = self._twin.step(self._before._replace(flat=flat), data, count)
        self._nonnegative &= ~(flat < 0)
        return flat

    def _check(self, now, count):
        """Raises ValueError if the first interval, repeated with the run itself, does not end where the run is."""
        if self._checked:
            return
        error = np.linalg.norm(self._stepped(self._before.flat, self._batches[-1], count) - now.flat)
        if error > 0.01 * self._length():  # what is not finite passes, and is recorded as nan
            raise ValueError(
                f"{count} steps repeated on `batches` end {error:.3g} from the run's own weights: batches(start) must "
                "be the very images that fit gets from step `start` on"
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
    """What a run can be put back to: weights and the optimisers' numbers, flat float64; and all other variables."""

    flat: np.ndarray
    others: list


class _Twin:
    """A model as a function: put into a state, stepped, read."""

    def __init__(self, model):
        if getattr(model, "critic", None) is None:
            raise ValueError(f"Lyapunov follows two players, a generator and a critic; found a {type(model).__name__}")
        optimizers = [model.generator_optimizer, model.critic_optimizer]
        numbers = [v for optimizer in optimizers for v in optimizer.variables]
        weights = [*model.generator.trainable_variables, *model.critic.trainable_variables]
        self._flat = [*weights, *(v for v in numbers if tf.as_dtype(v.dtype).is_floating)]
        taken = {id(v) for v in self._flat}
        candidates = {id(v): v for v in [*model.variables, *model.metrics_variables, model.watch.note, *numbers]}
        self._others = [v for key, v in candidates.items() if key not in taken]
        self._step = tf.function(model.train_step, jit_compile=model.jit_compile, autograph=False)
        self.weights = sum(math.prod(v.shape) for v in weights)

    def read(self):
        return _State(self._read_flat(), [tf.identity(v.value) for v in self._others])

    def write(self, state):
        parts = np.split(state.flat, np.cumsum([math.prod(v.shape) for v in self._flat])[:-1])
        for variable, part in zip(self._flat, parts, strict=True):
            variable.assign(part.reshape(variable.shape))
        for variable, value in zip(self._others, state.others, strict=True):
            variable.assign(value)

    def step(self, state, data, count):
        """Where `count` steps on the next batches of `data` lead from a state: flat."""
        self.write(state)
        for _ in range(count):
            self._step(next(data))
        return self._read_flat()

    def _read_flat(self):
        return np.concatenate([np.ravel(v) for v in self._flat]).astype(np.float64)
