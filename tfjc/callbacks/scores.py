"""Scores a generator's samples while it trains."""

import logging
import os
from typing import Any

import tensorflow as tf

from tfjc import evaluators, geometry
from tfjc.callbacks._periodic import Periodic
from tfjc.support import replicas


class Scores(Periodic):
    """Scores a generator's samples before training, at regular intervals and at the end of any `model.fit`.

    Each measurement is added to `history` as a flat dict with the key `step`. It has the evaluator's own keys, such
    as `frechet_distance/mnist/penultimate/10000`, and each number again under its plain name, `frechet_distance`.
    Where several keys share a plain name, the first one has it. With `log_dir` the callback writes scalars for
    TensorBoard. Distances are computed by the fast forms of `tfjc.evaluators.scores`.

    If the evaluator's network cannot be obtained (`evaluators.Unavailable`), training continues without these scores,
    with one warning. Samples that are not finite (`evaluators.NotFinite`) are not scored, with a warning.

    Args:
      generator: callable z [B, n_z] → images. A Keras model is called in inference mode.
      evaluator: such as `evaluators.ClassifierEvaluator(z, data)`.
      every: steps between scores.
      log_dir: TensorBoard's directory.
      prefix: added before the names of all scores.
      last: the last step of a training that takes several calls of `fit`; it is always scored.

    Raises:
      ValueError: `every` is less than 1, or `evaluator` is not an evaluator.
    """

    def __init__(
        self,
        generator: geometry.Generator,
        evaluator: evaluators.Evaluator,
        every: int = 1000,
        *,
        prefix: str = "",
        log_dir: str | os.PathLike | None = None,
        last: int | None = None,
    ) -> None:
        super().__init__(every, log_dir, last)
        if isinstance(evaluator, type) or not callable(evaluator) or not hasattr(evaluator, "prepare"):
            raise ValueError(f"scores need an evaluator such as ClassifierEvaluator(z, data), found {evaluator!r}")
        self.generator, self.evaluator = generator, evaluator
        self.prefix, self._left_out = prefix, False
        self.history: list[dict[str, Any]] = []

    def at(self, step: int) -> dict[str, Any]:
        """The newest scores if they were measured at `step`, else an empty dict."""
        if not self.history or self.history[-1]["step"] != step:
            return {}
        return {name: value for name, value in self.history[-1].items() if name != "step"}

    def about(self) -> dict[str, Any]:
        """What the scores were measured with: the evaluator's name and its own description."""
        return {"evaluator": type(self.evaluator).__name__, **self.evaluator.about()}

    def act(self, step: int, logs: dict[str, Any]) -> None:
        """Scores the samples and records the numbers."""
        found = {f"{self.prefix}{key}": value for key, value in self._measure(step).items()}
        if not found:
            return
        plain: dict[str, Any] = {}
        for key, value in found.items():
            plain.setdefault(key.partition("/")[0], value)
        self.history.append({"step": step, **plain, **found})
        if self._writer:
            for key, value in found.items():
                if isinstance(value, float):
                    tf.summary.scalar(f"scores/{key}", value)

    def _prepare(self):
        """Prepares the evaluator; raises `Unavailable` in every worker if one worker cannot prepare it."""
        missing = None
        try:
            self.evaluator.prepare()
        except evaluators.Unavailable as error:
            missing = error
        if not replicas.all_workers(missing is None):
            raise missing or evaluators.Unavailable("another worker lacks the evaluator's network")

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
