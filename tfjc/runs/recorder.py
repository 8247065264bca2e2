"""Writes the measurements of the other callbacks to the run directory."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import summary_v2 as hparams

from tfjc.callbacks import Conditioning, Scores, WeightSpectra
from tfjc.callbacks._periodic import Periodic
from tfjc.support.run_directory import RunDirectory


class Recorder(Periodic):
    """Writes a line of `metrics.jsonl`, a spectrum, and TensorBoard's scalars of the losses at every evaluation.

    A line holds `step`, `seconds` of training so far (of all sessions), the losses and other scalars of `fit`, averaged
    since the last line, the `latest` measurements of `conditioning`, and the scores and weight spectra of this step.
    A file `spectra/step_00000500.npz` holds `z` [B, n_z], `singular_values` [B, n_z] and `average_jacobian` [n_z].

    The callbacks that measure must precede this one in the list of callbacks.

    Attributes:
      recorded: the single numbers of the line that was written at this step; empty between evaluations.

    Args:
      run: the run directory.
      conditioning: measures the spectra.
      every: steps between evaluations, as in `conditioning`.
      scores: where two share a name, the line has the first one's number.
      weights: measures the weights' spectra.
      hyperparameters: {name: number or text} for TensorBoard's HParams page.
    """

    def __init__(
        self,
        run: RunDirectory,
        conditioning: Conditioning,
        every: int = 500,
        *,
        scores: Sequence[Scores] = (),
        weights: WeightSpectra | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(every, run.tensorboard)
        self.run, self.conditioning, self.scores, self.weights = run, conditioning, tuple(scores), weights
        self._hyperparameters = dict(hyperparameters or {})
        self._began, self._before = time.monotonic(), 0.0
        self.recorded: dict[str, float] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Drops the records of later steps than the model's, then begins."""
        step = int(self.model.step.numpy()) or -1  # a session from step 0 writes the line of step 0 again
        self.run.drop_after(step)
        rows = self.run.read_metrics()
        self._before = rows[-1]["seconds"] if rows else 0.0
        self._drop_spectra_at_other_latents()
        self._began = time.monotonic()
        summary = hparams.hparams_pb(self._hyperparameters, trial_id=str(self.run.path))
        if self._writer is not None:
            with self._writer.as_default(step=0):
                tf.summary.experimental.write_raw_pb(summary.SerializeToString())
        super().on_train_begin(logs)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Leaves the evaluation of the step before behind."""
        self.recorded = {}

    def act(self, step: int, logs: Mapping[str, Any]) -> None:
        """Writes the spectrum and the line."""
        seconds = round(self._before + time.monotonic() - self._began, 3)
        losses = {name: float(value) for name, value in logs.items() if name not in self.conditioning.latest}
        for name, value in losses.items():
            tf.summary.scalar(f"training/{name}", value)
        self._write_spectrum(step)
        measured = dict(self.conditioning.latest)
        for scores in reversed(self.scores):
            measured |= scores.at(step)
        if self.weights:
            measured |= self.weights.at(step)
        self._note_networks()
        row = {"step": step, "seconds": seconds, **measured, **losses}
        self.run.append_metrics(row)
        self.recorded = {name: value for name, value in row.items() if isinstance(value, (int, float))}

    def _note_networks(self):
        """Writes to `run.json` what the scores are taken with, and warns if that has changed."""
        found = [scores.about() for scores in self.scores if scores.history]
        before = self.run.read_run().get("scores")
        if found and found != before:
            if before:
                logging.getLogger("tfjc").warning("earlier scores were taken with %s, new ones with %s", before, found)
            self.run.update_run(scores=found)

    def _write_spectrum(self, step):
        spectrum, z = self.conditioning.spectrum, self.conditioning.evaluator.z.numpy()
        self.run.write_spectrum(step, z, spectrum.singular_values, spectrum.average_jacobian)

    def _drop_spectra_at_other_latents(self):
        """Removes all spectra where they were measured at other latents, which takes `--force`."""
        steps = self.run.spectrum_steps()
        if steps and not np.array_equal(self.run.read_spectrum(steps[-1])["z"], self.conditioning.evaluator.z):
            self.run.drop_spectra()
