"""Checkpoints that a run goes on from."""

import os

import tensorflow as tf

from tfjc.callbacks._periodic import Periodic


class Checkpoints(Periodic):
    """Saves a model of `tfjc.models` (weights, optimisers' state, step) at every evaluation; keeps the newest `keep`.

    Stands last in the list of callbacks: everything recorded up to a checkpoint's step is on the disk before it is.
    """

    def __init__(self, model, directory, every=500, *, keep=3):
        super().__init__(every)
        self._manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=model), os.fspath(directory), keep)

    def restore(self):
        """Brings the model to the newest checkpoint; returns its path, or None where there is none."""
        newest = self._manager.latest_checkpoint
        if newest:
            self._manager.checkpoint.restore(newest).assert_consumed()
        return newest

    def act(self, step, logs):
        """Saves a checkpoint, numbered by the step."""
        self._manager.save(checkpoint_number=step)
