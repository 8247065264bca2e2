"""Scores of the samples during training."""

import logging

import tensorflow as tf

from tfjc import evaluators
from tfjc.callbacks._periodic import Periodic
from tfjc.support import replicas


class Scores(Periodic):
    """Scores a generator's samples before training, every so many steps and at the end, in any Keras `fit`.

    Each measurement is added to `history`, flat dicts with the key `step`. Besides the evaluator's own keys, such as
    `frechet_distance/mnist/penultimate/10000`, each number stands under its plain name, `frechet_distance` (the first,
    where several share one). With `log_dir` it writes scalars for TensorBoard. Distances are taken by the fast forms of
    `tfjc.evaluators.scores`.

    Where the evaluator's network is not to be had (`evaluators.Unavailable`), training goes on without these scores and
    a warning says so once; samples that are not finite (`evaluators.NotFinite`) are not scored, with a warning.

    Args:
      generator: callable z [B, n_z] → images; a Keras model is called in inference mode.
      evaluator: such as `evaluators.ClassifierEvaluator(z, data)`.
      every: steps between scores.
      log_dir: TensorBoard's directory.
      prefix: what the names of all scores begin with.
      last: the step that training ends with, if it takes several `fit`; scored whatever `every` is.

    Raises:
      ValueError: every is out of range, or the evaluator is none.
    """

    def __init__(self, generator, evaluator, every=1000, *, prefix="", log_dir=None, last=None):
        super().__init__(every, log_dir, last)
        if isinstance(evaluator, type) or not callable(evaluator) or not hasattr(evaluator, "prepare"):
            raise ValueError(f"scores need an evaluator such as ClassifierEvaluator(z, data), found {evaluator!r}")
        self.generator, self.evaluator = generator, evaluator
        self.prefix, self.history, self._left_out = prefix, [], False

    def at(self, step):
        """The newest scores if they were taken at `step`, else an empty dict."""
        if not self.history or self.history[-1]["step"] != step:
            return {}
        return {name: value for name, value in self.history[-1].items() if name != "step"}

    def about(self):
        """What the scores were taken with."""
        return {"evaluator": type(self.evaluator).__name__, **self.evaluator.about()}

    def act(self, step, logs):
        """Scores the samples, and hands the numbers on."""
        found = {f"{self.prefix}{key}": value for key, value in self._measure(step).items()}
        if not found:
            return
        plain = {}
        for key, value in found.items():
            plain.setdefault(key.partition("/")[0], value)
        self.history.append({"step": step, **plain, **found})
        if self._writer:
            for key, value in found.items():
                if isinstance(value, float):
                    tf.summary.scalar(f"scores/{key}", value)

    def _prepare(self):
        """Gets what the evaluator needs; raises `Unavailable` in all workers where one of them has it not."""
        missing = None
        try:
            self.evaluator.prepare()
        except evaluators.Unavailable as error:
            missing = error
        if not replicas.all_workers(missing is None):
            raise missing or evaluators.Unavailable("another worker lacks its network")

    def _measure(self, step):
        if self._left_out:
            return {}
        log = logging.getLogger("tfjc").warning
        try:
            self._prepare()
            return self.evaluator(self.generator, fast=True)
        except evaluators.Unavailable as error:
            self._left_out = True
            log("training goes on without the scores of %s: %s", type(self.evaluator).__name__, error)
        except evaluators.NotFinite as error:
            log("no scores at step %d: %s", step, error)
        return {}
