"""What the callbacks share: they act at step 0, then every so many steps, and once more at the end."""

import functools
import os

import keras
import tensorflow as tf

from tfjc.support import checks


@functools.cache
def _writer(log_dir):
    # One event file for all callbacks of a run: TensorBoard follows only the newest file of a directory.
    return tf.summary.create_file_writer(log_dir)


class Periodic(keras.callbacks.Callback):
    """Calls `act(step, logs)` before the first step, after every `every` steps and after the last one.

    The end is that of `fit`, or step `last` where training takes several.
    Steps are the model's own (`model.step`, as `tfjc.models` count them, so that a resumed run goes on), else those
    seen here. What `act` adds to `logs` shows in Keras's progress line.
    """

    def __init__(self, every, log_dir=None, last=None):
        super().__init__()
        self.every, self.last = checks.integer("every", every, minimum=1), last
        self._writer = _writer(os.path.abspath(os.fspath(log_dir))) if log_dir else None
        self._step, self._acted, self._epoch_began = 0, None, 0

    def act(self, step, logs):
        """What the callback does at a step."""
        raise NotImplementedError

    def on_train_begin(self, logs=None):
        """Acts on the untrained model; a model that goes on was seen at this step before."""
        self._acted = self._step = self._models_step()
        if self._step == 0:
            self._act({})

    def _models_step(self):
        step = getattr(self.model, "step", None)
        return int(step.numpy()) if isinstance(step, keras.Variable) else self._step

    def on_epoch_begin(self, epoch, logs=None):
        """Remembers where the epoch began: Keras counts batches within it.

        The model's own step is read again: another callback may have restored it since (Keras's BackupAndRestore).
        """
        self._step = self._epoch_began = self._models_step()

    def on_train_batch_end(self, batch, logs=None):
        """Counts the steps (several at once with `steps_per_execution`), and acts if an interval has been passed."""
        before, self._step = self._step, self._epoch_began + batch + 1
        if self._step // self.every > before // self.every or self._step == self.last:
            self._act(logs if logs is not None else {})

    def on_train_end(self, logs=None):
        """Acts on the trained model, if it has not been seen yet."""
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
