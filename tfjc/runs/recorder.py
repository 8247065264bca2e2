"""Brings what the other callbacks measure to the run directory."""

import logging
import time

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import summary_v2 as hparams

from tfjc.callbacks._periodic import Periodic
from tfjc.support.files import replacing


class Recorder(Periodic):
    """Writes a line of `metrics.jsonl` and adds to `spectra.npz` at every evaluation; the losses also to TensorBoard.

    A line holds `step`, `seconds` of training so far (of all sessions), the losses and other scalars of `fit`, averaged
    since the last line, what `conditioning` has in `latest`, and the scores taken at this step. `spectra.npz` holds
    `steps` [T], `z` [B, n_z], `singular_values` [T, B, n_z] and `average_jacobian` [T, n_z].

    Args:
      run: `RunDirectory`.
      conditioning: the `Conditioning` callback, which stands before this one in the list.
      every: steps between evaluations, as in `conditioning`.
      scores: `Scores` callbacks, which stand before this one too; where two share a name the first one's is written.
      weights: `WeightSpectra`, before this one as well; what it measured at a line's step is in the line.
      hyperparameters: {name: number or text} that TensorBoard's HParams page tells runs apart by.
    """

    def __init__(self, run, conditioning, every=500, *, scores=(), weights=None, hyperparameters=None):
        super().__init__(every, run.tensorboard)
        self.run, self.conditioning, self.scores, self.weights = run, conditioning, tuple(scores), weights
        self._hyperparameters = hyperparameters or {}
        self._began, self._before, self._spectra = time.monotonic(), 0.0, []

    def on_train_begin(self, logs=None):
        """Drops what was recorded after the step at which this session goes on, then begins."""
        step = int(self.model.step.numpy()) or -1  # at step 0 that step's own line is written again
        self.run.drop_after(step)
        rows = self.run.read_metrics()
        self._before = rows[-1]["seconds"] if rows else 0.0
        self._spectra = self._read_spectra(step)
        self._began = time.monotonic()
        summary = hparams.hparams_pb(self._hyperparameters, trial_id=str(self.run.path))
        with self._writer.as_default(step=0):
            tf.summary.experimental.write_raw_pb(summary.SerializeToString())
        super().on_train_begin(logs)

    def act(self, step, logs):
        """Writes the line and the spectra."""
        seconds = round(self._before + time.monotonic() - self._began, 3)
        losses = {name: float(value) for name, value in logs.items() if name not in self.conditioning.latest}
        for name, value in losses.items():
            tf.summary.scalar(f"training/{name}", value)
        self._write_spectra(step)
        measured = dict(self.conditioning.latest)
        for scores in reversed(self.scores):
            measured |= scores.at(step)
        if self.weights:
            measured |= self.weights.at(step)
        self._note_networks()
        self.run.append_metrics({"step": step, "seconds": seconds, **measured, **losses})

    def _note_networks(self):
        """Says in `run.json` what the scores are taken with, and warns where that was something else before."""
        found = [scores.about() for scores in self.scores if scores.history]
        before = self.run.read_run().get("scores")
        if found and found != before:
            if before:
                logging.getLogger("tfjc").warning("scores until now were taken with %s, now with %s", before, found)
            self.run.update_run(scores=found)

    def _read_spectra(self, step):
        """The (step, singular values, average Jacobian) recorded up to `step`; none where the latents were others."""
        saved = self.run.read_spectra()
        if not np.array_equal(saved.get("z"), self.conditioning.evaluator.z):
            return []
        columns = saved["steps"].tolist(), saved["singular_values"], saved["average_jacobian"]
        return [entry for entry in zip(*columns, strict=True) if entry[0] <= step]

    def _write_spectra(self, step):
        spectrum = self.conditioning.spectrum
        self._spectra.append((step, spectrum.singular_values, spectrum.average_jacobian))
        steps, values, average = (np.stack(column) for column in zip(*self._spectra, strict=True))
        with replacing(self.run.spectra) as temporary, open(temporary, "wb") as stream:
            z = self.conditioning.evaluator.z.numpy()
            np.savez(stream, steps=steps, z=z, singular_values=values, average_jacobian=average)
