"""Sessions of training in a run directory: what may go on there and from where, and how it ended."""

import contextlib
import errno
import logging
import os
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf

from tfjc import geometry, models
from tfjc.runs import devices, environment
from tfjc.saving import checkpoints
from tfjc.support.files import write_text
from tfjc.support.run_directory import RunDirectory, lock, refuse_foreign

_OUTCOMES = {KeyboardInterrupt: "interrupted", FloatingPointError: "diverged"}  # of what ends a run; else "failed"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class TrainingError(RuntimeError):
    """A run failed after it had begun: not for how it was configured."""


class DiskFull(TrainingError):
    """A run failed because nothing more could be written; its newest whole checkpoint is as good as before."""


class WorkerLost(TrainingError):
    """A run failed because another worker of its cluster ended: all can be started again."""


def changed(run, seed, config, resume, force):
    """The lines in which a configuration differs from that of the run that the directory holds.

    Raises ValueError where these are any without `force`, where the run is not to be resumed, has another seed (its
    data's order, its noise and the latents of its records would all be others) or is none.
    """
    refuse_foreign(run.path, run.run.name, "run")
    before = run.read_run()
    if before and not resume:
        raise ValueError(f"{run.path} holds a run already; choose another --workdir, or leave out --noresume")
    if before and before.get("seed", seed) != seed:
        raise ValueError(f"{run.path} holds a run with seed {before['seed']}, found {seed}; choose another --workdir")
    if not (before and run.config.exists() and run.config.name in config):
        return []
    was, now = _lines(run.config.read_text(encoding="utf-8")), _lines(config[run.config.name])
    precisions = [about.get("precision", "float32") for about in before.get("sessions", [])[-1:]]
    was |= {f"--precision={precision}" for precision in precisions}
    now |= {f"--precision={keras.config.dtype_policy().name}" for _ in precisions}
    differ = [f"was  {line}" for line in sorted(was - now)] + [f"now  {line}" for line in sorted(now - was)]
    if differ and not force:
        raise ValueError(
            f"{run.path} holds a run of another configuration; choose another --workdir, or go on with this one "
            "(--force)\n" + "\n".join(f"  {line}" for line in differ)
        )
    return differ


def is_finished(run, steps):
    """Whether a run directory holds a run that ended by itself, after `steps` steps or more, with all its records."""
    rows = run.read_metrics() if run.read_run().get("status") == "finished" else []
    return bool(rows) and rows[-1]["step"] >= steps and run.missing(rows[-1]["step"]) is None


def _lines(text):
    """The statements of a configuration, but for those that may change: steps, memory, where files lie."""
    free = ("#", "train_and_evaluate.steps ", "train_and_evaluate.chunk ", "InceptionEvaluator.inception ")
    return {line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith(free)}


@contextlib.contextmanager
def session(run, seed, config, bindings=None, **about):
    """A session of training in a run directory.

    The directory gets the configuration as text, and `run.json` the bindings, the session's circumstances and outcome.
    """
    sessions = [*run.read_run().get("sessions", []), {**environment.describe(), **about}]
    try:
        # First of all files: it makes the directory a run's.
        run.update_run(seed=seed, status="running", bindings=bindings, sessions=sessions, diverged=None)
        _write(run, config())
        yield
        _end(run, "finished", config)
    except BaseException as error:
        status = next((status for kind, status in _OUTCOMES.items() if isinstance(error, kind)), "failed")
        status = "interrupted" if _is_of_another_worker(error) else status
        with contextlib.suppress(OSError, ValueError):  # what went wrong first is what is told
            if isinstance(error, models.Diverged):
                run.update_run(diverged={"step": error.step, "tensor": error.tensor})
            _end(run, status, config)
        if isinstance(error, (ValueError, TypeError, OSError, tf.errors.OpError)):
            raise _failure(run, error) from error
        raise


def _end(run, status, config):
    _write(run, config())  # the operative configuration is known in full only now
    seconds = [row["seconds"] for row in run.read_metrics()[-1:]]
    run.update_run(status=status, wall_clock_seconds=sum(seconds))


def _failure(run, error):
    """What to raise for a run that failed: `DiskFull` or `WorkerLost` with what to do, or `TrainingError`."""
    if _is_of_another_worker(error):
        return WorkerLost(
            f"another worker ended ({geometry.summary(error)}): start the same command again on all workers, "
            "to go on from the newest checkpoint"
        )
    if not any(os.strerror(number) in str(error) for number in _NO_ROOM):
        return TrainingError(f"the run in {run.path} failed: {error}")
    step, free = checkpoints.newest(run.checkpoints)[0], shutil.disk_usage(run.path).free
    whole = "There is no checkpoint yet" if step is None else f"The checkpoint of step {step} is whole"
    return DiskFull(
        f"the run in {run.path} could not write: {geometry.summary(error)} ({free / 2**20:.1f} MiB are free). "
        f"{whole}: free some space and run the same command again"
    )


def _is_of_another_worker(error):
    """Whether an error is what a worker sees when another one has gone."""
    several, texts = tf.distribute.get_strategy().cluster_resolver is not None, []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    text = "\n".join(texts)
    mismatched = "Collective instance" in text  # the workers did different things: to start again does not help
    return several and "Collective ops is aborted" in text and not mismatched


def _write(run, config):
    for name, text in config.items():
        write_text(run.path / name, text)


@contextlib.contextmanager
def entered(run):
    """The run directory `run`, locked; in a worker that is not the chief a temporary one, for only the chief writes."""
    if devices.is_chief():
        with lock(run.create().path):
            yield run
    else:
        with tempfile.TemporaryDirectory(prefix="tfjc_worker_") as path:
            yield RunDirectory(path)


def common_step(model):
    """The step at which a model is; raises ValueError where other workers have another."""
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


def restore(run, saver):
    """Goes back to the newest whole checkpoint that has all records up to its step.

    Raises ValueError where there must be such a checkpoint and there is none, or where records are damaged.
    """
    rows = run.read_metrics()
    has_begun = bool(rows) and rows[-1]["step"] > 0  # a row past 0 is written after the checkpoint of the row before
    if not has_begun and max(checkpoints.steps(run.checkpoints), default=0) == 0:
        _drop_damaged(run.checkpoints)
    path = saver.restore(run.checkpoints, lambda step: run.missing(step) if step else None)  # step 0 is recorded again
    if path:
        print(f"going on from step {path.rpartition('-')[2]} of {run.path}", flush=True)
    elif has_begun:
        raise ValueError(
            f"{run.path} has records up to step {rows[-1]['step']} and no checkpoint to go on from; bring "
            f"{run.checkpoints.name}/ back, or choose another --workdir"
        )


def check_latents(run, z, changed):
    """Raises ValueError where the spectra in a run directory were measured at other latents than `z` [B, n_z].

    So were those of earlier versions, whose noise and data order were others, too. A run that was forced to another
    configuration may have other latents.
    """
    before = run.read_spectra().get("z")
    if before is not None and not (changed or run.was_forced() or np.array_equal(before, z)):
        raise ValueError(
            f"{run.path} holds a run at other latents, as an earlier version of tfjc drew them; its noise and the "
            "order of its data would be others, too. Choose another --workdir"
        )


def _drop_damaged(directory):
    """Removes checkpoints of which none is whole: a run that was killed over its first one has lost nothing."""
    step, damaged = checkpoints.newest(directory)
    if step is None and damaged and devices.is_chief():
        logging.getLogger("tfjc").warning("%s holds no whole checkpoint: the run begins anew", directory)
        for each in damaged:
            checkpoints.remove(directory, each)
