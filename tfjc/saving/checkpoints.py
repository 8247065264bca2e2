"""Checkpoints in a directory: written whole and with their SHA-256, checked before they are used."""

import hashlib
import logging
import os
import pathlib
import re
import shutil

import tensorflow as tf

from tfjc.support.files import sync, write_text


def steps(directory):
    """The steps of which a directory holds a checkpoint, whole or not, ascending."""
    names = (
        re.fullmatch(r"ckpt-(\d+)\.(?:index|sha256)", path.name) for path in pathlib.Path(directory).glob("ckpt-*")
    )
    return sorted({int(name[1]) for name in names if name})


def path(directory, step):
    """What the names of a checkpoint's files begin with, as `tf.train.Checkpoint.restore` takes it."""
    return str(pathlib.Path(directory) / f"ckpt-{step}")


def write(checkpoint, directory, step):
    """Writes a `tf.train.Checkpoint` for a step, brings it to the disk, and seals it: `ckpt-STEP.sha256` comes last.

    The seal is a file for `sha256sum -c`. What fails leaves nothing of this checkpoint and all others as they are.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    remove(directory, step)  # a seal of other files of this name would make these count as damaged
    _ = checkpoint.save_counter  # makes it: `restore` expects one
    try:
        checkpoint.write(path(directory, step))
        files = _files(directory, step)
        for file in files:
            sync(file)
        write_text(_seal(directory, step), "".join(f"{_digest(file)}  {file.name}\n" for file in files))
        _write_state(directory, step)
    except BaseException:
        remove(directory, step)
        raise


def remove(directory, step):
    """Removes a checkpoint, the seal last: what is left of one half removed is known to be damaged."""
    shutil.rmtree(f"{path(directory, step)}_temp", ignore_errors=True)  # where TensorFlow writes at first
    for file in _files(directory, step):
        file.unlink(missing_ok=True)


def newest(directory, missing=None):
    """(the step of the newest whole checkpoint or None, {step: what is wrong} of the damaged ones after it).

    `missing(step)` tells what else lacks for a checkpoint to be used, as text, or None: the records up to its step.
    """
    damaged = {}
    for step in reversed(steps(directory)):
        wrong = damage(directory, step) or (missing and missing(step))
        if wrong is None:
            return step, damaged
        damaged[step] = wrong
    return None, damaged


def find(directory, missing=None):
    """As `newest`, with a warning of damaged ones; raises ValueError where there are checkpoints and none is whole."""
    step, damaged = newest(directory, missing)
    found = "; ".join(f"ckpt-{at}: {why}" for at, why in damaged.items())
    if damaged and step is None:
        raise ValueError(
            f"no checkpoint in {directory} can be used ({found}); bring the files back from a copy, or train in "
            "another --workdir"
        )
    if damaged:
        log = logging.getLogger("tfjc").warning
        log("%s has checkpoints that cannot be used (%s); ckpt-%d is used instead", directory, found, step)
    return step, damaged


def damage(directory, step):
    """What is wrong with a checkpoint, as text; None where it is whole.

    One without a seal (of version 0.1.0, or cut off before it was sealed) is read through instead: TensorFlow keeps a
    CRC of each tensor.
    """
    directory, seal = pathlib.Path(directory), _seal(directory, step)
    if not seal.exists():
        return _unreadable(path(directory, step))
    lines = seal.read_text(encoding="utf-8", errors="replace").splitlines()
    sealed = [re.fullmatch(r"([0-9a-f]{64})  (ckpt-\S+)", line) for line in lines]
    if not sealed or not all(sealed):
        return f"{seal.name} is damaged"
    for digest, name in (line.groups() for line in sealed):
        if not (directory / name).is_file():
            return f"{name} is missing"
        if _digest(directory / name) != digest:
            return f"{name} is not what was written (SHA-256)"
    return None


def _unreadable(prefix):
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except Exception as error:  # TensorFlow raises its own errors, and RuntimeError without a class
        return f"cannot be read: {str(error).strip().splitlines()[0]}"
    return None


def _files(directory, step):
    """The files of a checkpoint, in the order data, index, seal."""
    directory = pathlib.Path(directory)
    names = sorted(os.listdir(directory)) if directory.is_dir() else []
    return [directory / name for name in names if name.startswith(f"ckpt-{step}.")]


def _seal(directory, step):
    return pathlib.Path(directory) / f"ckpt-{step}.sha256"


def _digest(file):
    found = hashlib.sha256()
    with open(file, "rb") as stream:
        while piece := stream.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def _write_state(directory, step):
    """TensorFlow's own note of the newest checkpoint, for `tf.train.latest_checkpoint`; nothing of ours reads it."""
    write_text(directory / "checkpoint", f'model_checkpoint_path: "ckpt-{step}"\n')
