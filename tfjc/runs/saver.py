"""Checkpoints that a run goes on from."""

import pathlib

import tensorflow as tf

from tfjc import geometry, models
from tfjc.callbacks._periodic import Periodic
from tfjc.saving import checkpoints
from tfjc.support import checks


class Checkpoints(Periodic):
    """Saves a model of `tfjc.models` (weights, optimisers' state, step) at every evaluation; keeps the newest `keep`.

    Each is on the disk, with the SHA-256 of its files, before an older one is removed (`tfjc.saving.checkpoints`).
    It stands last in the list of callbacks, so that everything recorded up to a checkpoint's step is on the disk first.
    """

    def __init__(self, model, directory, every=500, *, keep=3):
        super().__init__(every)
        self.directory, self._keep = pathlib.Path(directory), checks.integer("keep", keep, minimum=1)
        self._checkpoint, self._damaged = tf.train.Checkpoint(model=model), {}

    def restore(self, directory=None, missing=None):
        """Brings the model to the newest whole checkpoint of a directory, this one's by default.

        `missing(step)` tells what else a checkpoint lacks (`checkpoints.newest`). Returns the checkpoint's path, or
        None where there is none. Warns of checkpoints that are passed over. Raises ValueError where none is whole, or
        the newest whole one does not fit the model.
        """
        directory = self.directory if directory is None else directory
        step, self._damaged = checkpoints.find(directory, missing)
        if step is None:
            return None
        path = checkpoints.path(directory, step)
        try:
            self._checkpoint.restore(path).assert_consumed()
        except (ValueError, AssertionError) as error:
            raise ValueError(
                f"{path} does not fit these networks and optimisers, and cannot be gone on from: "
                f"{geometry.summary(error)}"
            ) from error
        return path

    def act(self, step, logs):
        """Saves a checkpoint, numbered by the step; removes those that it makes superfluous, and damaged ones.

        Raises `models.Diverged` where a number of the model is not finite: no checkpoint holds such a one.
        """
        models.check_finite(self._checkpoint.model)
        checkpoints.write(self._checkpoint, self.directory, step)
        older = [other for other in checkpoints.steps(self.directory) if other < step and other not in self._damaged]
        for other in [*older[: max(0, len(older) - self._keep + 1)], *(self._damaged.keys() - {step})]:
            checkpoints.remove(self.directory, other)
        self._damaged = {}
