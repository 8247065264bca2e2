"""The base class of the callbacks: acts at step 0, at regular intervals, and at the end."""

import os
from typing import Any

import keras
import tensorflow as tf

from tfjc.support import checks

_writers: dict[str, tf.summary.SummaryWriter] = {}


def _writer_of(log_dir):
    """The writer of a directory, or a new one where the directory was removed.

    All callbacks of a run share one event file, because TensorBoard follows only the newest file of a directory.
    """
    if log_dir not in _writers or not os.path.isdir(log_dir):
        _writers[log_dir] = tf.summary.create_file_writer(log_dir)
    return _writers[log_dir]


class Periodic(keras.callbacks.Callback):
    """Calls `act(step, logs)` before the first step, after every `every` steps, and after the last step.

    Steps are the model's own count (`model.step` of `tfjc.models`), which a resumed run continues. For other models
    the callback counts the steps of `fit`. Entries that `act` adds to `logs` appear in Keras's progress line.

    Args:
      every: steps between calls.
      log_dir: TensorBoard's directory, or None.
      last: the last step of a training that takes several calls of `fit`; by default the last step of each `fit`.

    Raises:
      ValueError: `every` is less than 1, or `log_dir` is a file.
    """

    def __init__(self, every: int, log_dir: str | os.PathLike | None = None, last: int | None = None) -> None:
        super().__init__()
        self.every, self.last = checks.integer("every", every, minimum=1), last
        self._log_dir = os.path.abspath(os.fspath(log_dir)) if log_dir else None
        if self._log_dir and os.path.exists(self._log_dir) and not os.path.isdir(self._log_dir):
            raise ValueError(f"log_dir must be a directory, found the file {self._log_dir}")
        self._step, self._epoch_began = 0, 0
        self._acted: int | None = None

    def _implements_train_batch_hooks(self):  # tf_keras asks its callbacks these three
        return True

    def _implements_test_batch_hooks(self):
        return False

    _implements_predict_batch_hooks = _implements_test_batch_hooks

    @property
    def _writer(self):
        return _writer_of(self._log_dir) if self._log_dir else None

    def act(self, step: int, logs: dict[str, Any]) -> None:
        """The callback's action at a step; a subclass defines it."""
        raise NotImplementedError

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Acts on the untrained model. A resumed model has been acted on at its step already."""
        self._acted = self._step = self._models_step()
        if self._step == 0:
            self._act({})

    def _models_step(self):
        step = getattr(self.model, "step", None)
        return int(step.numpy()) if isinstance(step, keras.Variable) else self._step

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the first step of the epoch, because Keras counts batches within an epoch.

        Reads the model's step again, because another callback may have restored it (Keras's BackupAndRestore).
        """
        self._step = self._epoch_began = self._models_step()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts steps, several at once with `steps_per_execution`, and acts where an interval has ended."""
        before, self._step = self._step, self._epoch_began + batch + 1
        if self._step // self.every > before // self.every or self._step == self.last:
            self._act(logs if logs is not None else {})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Acts on the trained model, unless it has acted at this step already."""
        if self._acted != self._step and self.last in (None, self._step):
            self._act(dict(logs or {}))

    def _act(self, logs):
        self._acted = self._step
        if self._writer:
            with self._writer.as_default(step=self._step):
                self.act(self._step, logs)
            self._writer.flush()
        else:
            self.act(self._step, logs)
