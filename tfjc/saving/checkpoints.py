"""Writes checkpoints with their SHA-256 checksums, and checks them before use."""

import contextlib
import hashlib
import logging
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator

import tensorflow as tf

from tfjc.support.files import sync, write_text


def steps(directory: str | os.PathLike) -> list[int]:
    """The steps of all checkpoints in a directory, intact or damaged, ascending."""
    names = (
        re.fullmatch(r"ckpt-(\d+)\.(?:index|sha256)", path.name) for path in pathlib.Path(directory).glob("ckpt-*")
    )
    return sorted({int(name[1]) for name in names if name})


def path(directory: str | os.PathLike, step: int) -> str:
    """The common beginning of the names of a checkpoint's files, as `tf.train.Checkpoint.restore` takes it."""
    return str(pathlib.Path(directory) / f"ckpt-{step}")


@contextlib.contextmanager
def readable(directory: str | os.PathLike, step: int) -> Iterator[str]:
    """A context with `path`, in a form that TensorFlow reads: it takes `[`, `*`, `?` and `\\` for a pattern."""
    if not re.search(r"[\[\]*?\\]", os.path.abspath(directory)):
        yield path(directory, step)
        return
    with tempfile.TemporaryDirectory(prefix="tfjc_") as temporary:
        link = pathlib.Path(temporary) / "checkpoints"
        link.symlink_to(pathlib.Path(directory).resolve(), target_is_directory=True)
        yield path(link, step)


def write(checkpoint: tf.train.Checkpoint, directory: str | os.PathLike, step: int) -> None:
    """Writes a `tf.train.Checkpoint` for a step and flushes it to the disk.

    The checksums, `ckpt-STEP.sha256`, are written last, in the format of `sha256sum -c`. If writing fails, no file of
    this checkpoint remains, and all other checkpoints are unchanged.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    remove(directory, step)  # checksums of older files with these names would not match
    _ = checkpoint.save_counter  # creates the counter that `restore` expects
    try:
        checkpoint.write(path(directory, step))
        files = _files(directory, step)
        for file in files:
            sync(file)
        write_text(_checksums(directory, step), "".join(f"{_checksum(file)}  {file.name}\n" for file in files))
        _write_state(directory, step)
    except BaseException:
        remove(directory, step)
        raise


def remove(directory: str | os.PathLike, step: int) -> None:
    """Removes a checkpoint. Its checksums go last, so that a half-removed checkpoint counts as damaged."""
    shutil.rmtree(f"{path(directory, step)}_temp", ignore_errors=True)  # TensorFlow writes here first
    for file in _files(directory, step):
        file.unlink(missing_ok=True)


def newest(
    directory: str | os.PathLike, missing: Callable[[int], str | None] | None = None
) -> tuple[int | None, dict[int, str]]:
    """Finds the newest intact checkpoint.

    Args:
      directory: the checkpoints' directory.
      missing: function of a step that says what else the checkpoint lacks to be used, such as records, or None.

    Returns:
      (the step of the newest intact checkpoint or None, {step: damage} of the newer, damaged ones).
    """
    damaged: dict[int, str] = {}
    for step in reversed(steps(directory)):
        wrong = damage(directory, step) or (missing and missing(step))
        if wrong is None:
            return step, damaged
        damaged[step] = wrong
    return None, damaged


def find(
    directory: str | os.PathLike, missing: Callable[[int], str | None] | None = None
) -> tuple[int | None, dict[int, str]]:
    """`newest`, with a warning of damaged checkpoints.

    Raises:
      ValueError: there are checkpoints, and none is intact.
    """
    step, damaged = newest(directory, missing)
    found = "; ".join(f"ckpt-{at}: {why}" for at, why in damaged.items())
    if damaged and step is None:
        raise ValueError(
            f"no checkpoint in {directory} can be used ({found}); restore the files from a copy, or train in "
            "another --workdir"
        )
    if damaged:
        log = logging.getLogger("tfjc").warning
        log("%s has checkpoints that cannot be used (%s); ckpt-%d is used instead", directory, found, step)
    return step, damaged


def damage(directory: str | os.PathLike, step: int) -> str | None:
    """What is wrong with a checkpoint, as text; None if it is intact.

    A checkpoint without checksums, since the process was killed before it wrote them, is read completely instead:
    TensorFlow keeps a CRC of each tensor.
    """
    directory, checksums = pathlib.Path(directory), _checksums(directory, step)
    if not os.path.lexists(checksums):
        with readable(directory, step) as prefix:
            return _unreadable(prefix)
    if not checksums.is_file():  # reading a pipe or device may never end
        return f"{checksums.name} is no file"
    lines = checksums.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [re.fullmatch(r"([0-9a-f]{64})  (ckpt-\S+)", line) for line in lines]
    if not found or not all(found):
        return f"{checksums.name} is damaged"
    for checksum, name in (line.groups() for line in found if line):
        if not (directory / name).is_file():
            return f"{name} is missing"
        if _checksum(directory / name) != checksum:
            return f"{name} does not match its SHA-256"
    return None


def _unreadable(prefix):
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except Exception as error:  # TensorFlow raises its own errors, and plain RuntimeError
        return f"cannot be read: {str(error).strip().splitlines()[0]}"
    return None


def _files(directory, step):
    """The files of a checkpoint in the order data, index, checksums."""
    directory = pathlib.Path(directory)
    names = sorted(os.listdir(directory)) if directory.is_dir() else []
    return [directory / name for name in names if name.startswith(f"ckpt-{step}.")]


def _checksums(directory, step):
    """The file of a checkpoint's checksums."""
    return pathlib.Path(directory) / f"ckpt-{step}.sha256"


def _checksum(file):
    """The SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with open(file, "rb") as stream:
        while piece := stream.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def _write_state(directory, step):
    """Writes TensorFlow's note of the newest checkpoint, for `tf.train.latest_checkpoint`. tfjc does not read it."""
    write_text(directory / "checkpoint", f'model_checkpoint_path: "ckpt-{step}"\n')
