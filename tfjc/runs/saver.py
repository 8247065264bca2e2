"""Checkpoints of a run: saves them, and restores the newest."""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tfjc import geometry, models
from tfjc.callbacks._periodic import Periodic
from tfjc.saving import checkpoints
from tfjc.support import checks


class Checkpoints(Periodic):
    """Saves a model (weights, states of its optimisers, step) at every evaluation, and keeps the newest checkpoints.

    A checkpoint is on the disk, with the SHA-256 of its files, before an older one is removed
    (`tfjc.saving.checkpoints`). This callback must be the last in the list of callbacks: all records up to a
    checkpoint's step are then on the disk before the checkpoint.

    Args:
      model: a model of `tfjc.models`.
      directory: where checkpoints are saved.
      every: steps between checkpoints.
      keep: number of checkpoints that are kept.
    """

    def __init__(
        self, model: models.GenerativeModel, directory: str | os.PathLike, every: int = 500, *, keep: int = 3
    ) -> None:
        super().__init__(every)
        self.directory, self._keep = pathlib.Path(directory), checks.integer("keep", keep, minimum=1)
        self._checkpoint = tf.train.Checkpoint(model=model)
        self._damaged: dict[int, str] = {}

    def restore(
        self, directory: pathlib.Path | None = None, missing: Callable[[int], str | None] | None = None
    ) -> str | None:
        """Restores the model from the newest intact checkpoint; warns of newer ones that are damaged.

        Args:
          directory: of the checkpoints, `self.directory` by default.
          missing: what a checkpoint of a step lacks besides its files, or None, as in `checkpoints.newest`.

        Returns:
          The checkpoint's path, or None for a directory without checkpoints.

        Raises:
          ValueError: no checkpoint is intact, or the newest intact one does not fit the model.
        """
        directory = self.directory if directory is None else directory
        step, self._damaged = checkpoints.find(directory, missing)
        if step is None:
            return None
        path = checkpoints.path(directory, step)
        try:
            with checkpoints.readable(directory, step) as readable:
                self._checkpoint.restore(readable).assert_consumed()
        except (ValueError, AssertionError) as error:
            raise ValueError(f"{path} does not fit these networks and optimisers: {geometry.summary(error)}") from error
        return path

    def act(self, step: int, logs: Mapping[str, Any]) -> None:
        """Saves the checkpoint of this step, then removes damaged ones and those beyond the newest `keep`.

        Raises:
          models.Diverged: a number of the model is not finite. No checkpoint holds such a number.
        """
        models.check_finite(self._checkpoint.model)
        checkpoints.write(self._checkpoint, self.directory, step)
        older = [other for other in checkpoints.steps(self.directory) if other < step and other not in self._damaged]
        for other in [*older[: max(0, len(older) - self._keep + 1)], *(self._damaged.keys() - {step})]:
            checkpoints.remove(self.directory, other)
        self._damaged = {}
