"""Keras callbacks of other people in a run: `train_and_evaluate.callbacks`."""

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfjc.runs.recorder import Recorder
from tfjc.runs.sessions import TrainingError


class CallbackFailed(TrainingError):
    """A run ended because a callback of the user's raised an error."""


class Foreign(keras.callbacks.Callback):
    """Calls somebody's Keras callback. Where an evaluation has just been recorded, its numbers are added to `logs`.

    `logs` are copied for that, so that the numbers do not appear in Keras's progress line. The hooks that get them are
    `on_train_begin` (step 0), `on_train_batch_end`, `on_epoch_end` and `on_train_end`.

    Args:
      callback: any object with the methods of `keras.callbacks.Callback`.
      recorder: records the evaluations; it must precede this callback in the list of callbacks.

    Raises:
      CallbackFailed: the callback raised an error. The message names the callback, and file and line of the error.
    """

    def __init__(self, callback: keras.callbacks.Callback, recorder: Recorder) -> None:
        super().__init__()
        self.callback, self._recorder = callback, recorder

    def set_params(self, params: dict[str, Any]) -> None:
        """Passes Keras's parameters of `fit` on."""
        super().set_params(params)
        self._call("set_params", params)

    def set_model(self, model: keras.Model) -> None:
        """Passes the model on."""
        super().set_model(model)
        self._call("set_model", model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Calls the callback's hook."""
        self._call("on_train_begin", logs=self._with_records(logs))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Calls the callback's hook."""
        self._call("on_epoch_begin", epoch, logs=dict(logs or {}))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Calls the callback's hook."""
        self._call("on_train_batch_begin", batch, logs=dict(logs or {}))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Calls the callback's hook."""
        self._call("on_train_batch_end", batch, logs=self._with_records(logs))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Calls the callback's hook."""
        self._call("on_epoch_end", epoch, logs=self._with_records(logs))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Calls the callback's hook."""
        self._call("on_train_end", logs=self._with_records(logs))

    def _with_records(self, logs):
        return {**self._recorder.recorded, **(logs or {})}

    def _call(self, hook, *arguments, **options):
        try:
            getattr(self.callback, hook)(*arguments, **options)
        except Exception as error:  # a user's code can raise anything
            raise CallbackFailed(f"{_name(self.callback)}.{hook} failed{_where(error)}: {_told(error)}") from error


def check(callbacks: Any) -> None:
    """Raises ValueError unless `callbacks` is a list of callbacks, or of functions that make them."""
    if not isinstance(callbacks, (list, tuple)):
        raise ValueError(
            f"train_and_evaluate.callbacks must be a list such as [@my_module.MyCallback()], found {callbacks!r}"
        )
    for entry in callbacks:
        if not _is_callback(entry) and not callable(entry):
            raise ValueError(
                "train_and_evaluate.callbacks must be Keras callbacks, or functions that make them, found "
                f"{entry!r} ({type(entry).__name__})"
            )


def made(callbacks: Sequence[Any], recorder: Recorder) -> list[Foreign]:
    """The callbacks as `Foreign`. Functions are called for them.

    Raises:
      ValueError: a function fails, or makes no callback.
    """
    return [Foreign(entry if _is_callback(entry) else _made(entry), recorder) for entry in callbacks]


def _made(make: Callable[[], Any]):
    name = getattr(make, "__name__", repr(make))
    try:
        found = make()
    except Exception as error:  # a user's code can raise anything
        raise ValueError(f"{name} in train_and_evaluate.callbacks failed{_where(error)}: {_told(error)}") from error
    if not _is_callback(found):
        raise ValueError(
            f"{name} in train_and_evaluate.callbacks must make a Keras callback, found a {type(found).__name__}"
        )
    return found


def _is_callback(found):
    return hasattr(found, "set_model") and not isinstance(found, type)


def _name(callback):
    kind = type(callback)
    return f"the callback {kind.__module__}.{kind.__qualname__}"


def _where(error):
    """The innermost place of an error, as text."""
    places = traceback.extract_tb(error.__traceback__)[1:]  # without ours
    return f" ({places[-1].filename}, line {places[-1].lineno})" if places else ""


def _told(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"  # one line
