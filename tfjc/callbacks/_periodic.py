"""What the callbacks share: they act at step 0, then every so many steps, and once more at the end."""

import os

import keras
import tensorflow as tf

from tfjc import checks


class Periodic(keras.callbacks.Callback):
    """Calls `act(step, logs)` before the first step, after every `every` steps and after the last one.

    Steps are the model's own (`model.step`, as `tfjc.models` count them, so that a resumed run goes on), else those
    seen here. What `act` adds to `logs` shows in Keras's progress line.
    """

    def __init__(self, every, log_dir=None):
        super().__init__()
        self.every = checks.integer("every", every, minimum=1)
        self._writer = tf.summary.create_file_writer(os.fspath(log_dir)) if log_dir else None
        self._step, self._last = 0, None

    def act(self, step, logs):
        """What the callback does at a step."""
        raise NotImplementedError

    def on_train_begin(self, logs=None):
        """Acts on the untrained model; a model that goes on was seen at this step before."""
        self._step = int(getattr(self.model, "step", self._step))
        if self._step == 0:
            self._act({})

    def on_train_batch_end(self, batch, logs=None):
        """Counts the step, and acts if it is due."""
        self._step += 1
        if self._step % self.every == 0:
            self._act(logs if logs is not None else {})

    def on_train_end(self, logs=None):
        """Acts on the trained model, if the last step was not due anyway."""
        if self._last != self._step and self._step % self.every:
            self._act(dict(logs or {}))
        if self._writer:
            self._writer.flush()

    def _act(self, logs):
        self._last = self._step
        if self._writer:
            with self._writer.as_default(step=self._step):
                self.act(self._step, logs)
        else:
            self.act(self._step, logs)
