"""Sessions of training in a run directory: whether and from where a run resumes, and how it ends."""

import contextlib
import errno
import logging
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfjc import geometry, models
from tfjc.callbacks import Conditioning
from tfjc.runs import devices, environment
from tfjc.runs.saver import Checkpoints
from tfjc.saving import checkpoints
from tfjc.support import interrupts
from tfjc.support.files import write_text
from tfjc.support.run_directory import RunDirectory, lock, refuse_foreign

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class TrainingError(RuntimeError):
    """A run failed after it had begun. Its configuration is valid."""


class DiskFull(TrainingError):
    """A run failed because the disk is full. Its newest checkpoint is intact."""


class DirectoryLost(TrainingError):
    """A run stopped because its directory was removed, renamed or replaced."""


class Collapsed(TrainingError):
    """A run ended because its generator has collapsed.

    Args:
      run: the run directory.
      step: the step at which it ended.
      reason: what was measured, as text.
    """

    def __init__(self, run: RunDirectory, step: int, reason: str) -> None:
        super().__init__(
            f"the generator has collapsed: at step {step} {reason}. The records in {run.path} are complete up to that "
            "step; the same command without --stop_on_collapse goes on"
        )
        self.step, self.reason = step, reason


class WorkerLost(TrainingError):
    """A run failed because another worker of its cluster ended. All workers can be started again."""


_FREE = (
    "train_and_evaluate.steps",
    "train_and_evaluate.chunk",
    "train_and_evaluate.callbacks",
    "train_and_evaluate.stop_on_collapse",
    "InceptionEvaluator.inception",
)


_OUTCOMES = {KeyboardInterrupt: "interrupted", FloatingPointError: "diverged", Collapsed: "collapsed"}  # else "failed"


def changed(run: RunDirectory, seed: int, bindings: Mapping[str, Any] | None, resume: bool, force: bool) -> list[str]:
    """The lines in which a configuration differs from that of the run in the directory.

    Steps, memory and places of files may change, and do not count.

    Raises:
      ValueError: there are such lines without `force`; the directory holds a run without `resume`, a run with another
        seed, which decides on the data's order, the noise and the latents, or other files.
    """
    refuse_foreign(run.path, run.run.name, "run")
    run.check_kinds()
    before = run.read_run()
    if before and not resume:
        raise ValueError(f"{run.path} holds a run already; choose another --workdir, or leave out --noresume")
    if before and before.get("seed", seed) != seed:
        raise ValueError(f"{run.path} holds a run with seed {before['seed']}, found {seed}; choose another --workdir")
    was, now = _lines(before.get("bindings")), _lines(bindings)
    if not (was and now):
        return []
    precisions = [about.get("precision", "float32") for about in before.get("sessions", [])[-1:]]
    was |= {f"--precision={precision}" for precision in precisions}
    now |= {f"--precision={keras.config.dtype_policy().name}" for _ in precisions}
    differ = [f"was  {line}" for line in sorted(was - now)] + [f"now  {line}" for line in sorted(now - was)]
    if differ and not force:
        raise ValueError(
            f"{run.path} holds a run of another configuration; choose another --workdir, or resume it with the new "
            "configuration (--force)\n" + "\n".join(f"  {line}" for line in differ)
        )
    return differ


def _lines(bindings):
    """The bindings as text, except those that may change."""
    return {f"{name} = {value!r}" for name, value in (bindings or {}).items() if name not in _FREE}


def is_finished(run: RunDirectory, steps: int) -> bool:
    """Whether a run directory holds a finished run of `steps` steps or more, with all its records."""
    rows = run.read_metrics() if run.read_run().get("status") == "finished" else []
    return bool(rows) and rows[-1]["step"] >= steps and run.lost() is None


@contextlib.contextmanager
def session(
    run: RunDirectory,
    seed: int,
    config: Callable[[], Mapping[str, str]],
    bindings: Mapping[str, Any] | None = None,
    **about: Any,
) -> Iterator[None]:
    """A context for a session of training in a run directory.

    It writes the configuration as text, and to `run.json` the bindings, the session's environment, `about`, and the
    outcome.

    Raises:
      TrainingError: the session failed with ValueError, TypeError, OSError or an error of TensorFlow. Other errors
        pass through.
    """
    sessions = [*run.read_run().get("sessions", []), {**environment.describe(), **about}]
    try:
        # run.json marks the directory as a run's, so it is the first file.
        run.update_run(seed=seed, status="running", bindings=bindings, sessions=sessions, diverged=None, collapsed=None)
        _write(run, config())
        yield
        _check_held(run)
        _end(run, "finished", config)
    except BaseException as error:
        stopped = interrupts.received() is not None  # TensorFlow may have raised another error than KeyboardInterrupt
        status = next((status for kind, status in _OUTCOMES.items() if isinstance(error, kind)), "failed")
        status = "interrupted" if stopped or _is_of_another_worker(error) else status
        with interrupts.held(), contextlib.suppress(OSError, ValueError):  # a second error must not hide the first
            _end(run, status, config, **_why(error))
        if stopped:
            raise KeyboardInterrupt from error
        if isinstance(error, (ValueError, TypeError, OSError, tf.errors.OpError)):
            raise _failure(run, error) from error
        raise


def _why(error):
    """The entry of `run.json` that says why a run diverged or collapsed."""
    if isinstance(error, models.Diverged):
        return {"diverged": {"step": error.step, "tensor": error.tensor}}
    return {"collapsed": {"step": error.step, "reason": error.reason}} if isinstance(error, Collapsed) else {}


def check(run: RunDirectory) -> None:
    """Raises KeyboardInterrupt if the process was asked to end, DirectoryLost if the run directory is not there."""
    interrupts.check()
    _check_held(run)


def _check_held(run):
    if not run.is_held():
        raise _lost(run)


def _lost(run):
    return DirectoryLost(
        f"{run.path} was removed, renamed or replaced during the run, which ends here; where it was renamed, the same "
        "command with its new name (--workdir) goes on from the newest checkpoint"
    )


class Watch(keras.callbacks.Callback):
    """Calls `check` after every step, before the other callbacks write their records.

    Args:
      run: the run directory.
    """

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self.run = run

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks."""
        check(self.run)


def _end(run, status, config, **why):
    if not run.is_held():  # what is there now belongs to somebody else
        return
    _write(run, config())  # the operative configuration is complete only at the end
    seconds = [row["seconds"] for row in run.read_metrics()[-1:]]
    run.update_run(status=status, **why, wall_clock_seconds=sum(seconds))


def _failure(run, error):
    """The exception for a failed run: one with a remedy where there is one, else `TrainingError`."""
    if not run.is_held():
        return _lost(run)
    if _is_of_another_worker(error):
        return WorkerLost(
            f"another worker ended ({geometry.summary(error)}): start the same command again on all workers, "
            "to go on from the newest checkpoint"
        )
    if not any(os.strerror(number) in str(error) for number in _NO_ROOM):
        return TrainingError(f"the run in {run.path} failed: {error}")
    step = checkpoints.newest(run.checkpoints)[0]
    intact = "There is no checkpoint yet" if step is None else f"The checkpoint of step {step} is intact"
    return DiskFull(
        f"the run in {run.path} could not write: {geometry.summary(error)} ({_room(run, error)}). "
        f"{intact}: free some space and run the same command again"
    )


def _room(run, error):
    """The free space of the disk that could not be written: that of the error's file, or of the run directory."""
    file = pathlib.Path(os.path.abspath(getattr(error, "filename", None) or run.path))
    place = next(place for place in (file, *file.parents) if place.is_dir())
    return f"{shutil.disk_usage(place).free / 2**20:.1f} MiB are free on the disk of {place}"


def _is_of_another_worker(error):
    """Whether TensorFlow raised an error because another worker has ended."""
    several, texts = tf.distribute.get_strategy().cluster_resolver is not None, []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    text = "\n".join(texts)
    mismatched = "Collective instance" in text  # the workers ran different operations; a restart does not help
    return several and "Collective ops is aborted" in text and not mismatched


def _write(run, config):
    for name, text in config.items():
        write_text(run.path / name, text)


@contextlib.contextmanager
def entered(run: RunDirectory) -> Iterator[RunDirectory]:
    """A context with the locked run directory. Workers other than the chief get a temporary directory instead."""
    if devices.is_chief():
        with lock(run.create().path) as is_held:
            yield RunDirectory(run.path, is_held)
    else:
        with tempfile.TemporaryDirectory(prefix="tfjc_worker_") as path:
            yield RunDirectory(path)


def common_step(model: models.GenerativeModel) -> int:
    """The model's step. Raises ValueError if other workers are at another step, WorkerLost if one has not begun."""
    step, strategy = int(model.step.numpy()), tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return step
    try:
        steps = strategy.gather(strategy.run(lambda: tf.constant([step], tf.int64)), axis=0).numpy()
    except tf.errors.OpError as error:
        raise WorkerLost(
            f"another worker did not begin ({geometry.summary(error)}); its own message says why"
        ) from error
    if set(steps) != {step}:
        raise ValueError(f"the workers go on from steps {sorted(set(steps))}: all need the same --workdir")
    return step


def restore(run: RunDirectory, saver: Checkpoints) -> None:
    """Restores the newest intact checkpoint with all records up to its step. A run that has not begun needs none.

    Raises:
      ValueError: the run has begun and has no such checkpoint, or its records are damaged.
    """
    rows = run.read_metrics()
    has_begun = bool(rows) and rows[-1]["step"] > 0  # the first checkpoint, of step 0, precedes every later row
    if not has_begun and max(checkpoints.steps(run.checkpoints), default=0) == 0:
        _drop_damaged(run.checkpoints)
    path = saver.restore(run.checkpoints, lambda step: run.missing(step) if step else None)  # step 0 is recorded again
    if path:
        print(f"going on from step {path.rpartition('-')[2]} of {run.path}", flush=True)
    elif has_begun:
        raise ValueError(
            f"{run.path} has records up to step {rows[-1]['step']} and no checkpoint to go on from; restore "
            f"{run.checkpoints.name}/ from a copy, or choose another --workdir"
        )


def resume(run: RunDirectory, step: int, conditioning: Conditioning) -> None:
    """Gives a callback the measurement at the step from which the run goes on, so that alarms go on as they were."""
    row = next((row for row in run.read_metrics() if row["step"] == step), None)
    if step and row:
        conditioning.resume(row)
        collapsed = run.read_run().get("collapsed")
        if collapsed and not conditioning.stop_on_collapse:
            print(f"note: the generator had collapsed: {collapsed['reason']} at step {collapsed['step']}", flush=True)


def check_latents(run: RunDirectory, step: int, z: tf.Tensor, changed: list[str]) -> None:
    """Raises ValueError if the spectrum of a run at the step it goes on from was measured at other latents than `z`.

    Other latents mean another version of tfjc, whose noise and data order differ, too. A run whose configuration was
    changed by force is exempt, and so is step 0, which is recorded again.
    """
    if step == 0 or changed or run.was_forced():
        return
    if not np.array_equal(run.read_spectrum(step)["z"], z):
        raise ValueError(
            f"{run.path} holds a run at other latents: another version of tfjc began it, with other noise and another "
            "order of the data. Choose another --workdir"
        )


def _drop_damaged(directory: pathlib.Path) -> None:
    """Removes all checkpoints if none is intact. A run that was killed while it wrote its first one lost nothing."""
    step, damaged = checkpoints.newest(directory)
    if step is None and damaged and devices.is_chief():
        logging.getLogger("tfjc").warning("%s holds no intact checkpoint: the run starts at step 0", directory)
        for each in damaged:
            checkpoints.remove(directory, each)
