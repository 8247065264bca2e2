"""Names, files and lock of a run directory. Figures and reports read everything from here, without TensorFlow."""

import contextlib
import datetime
import json
import logging
import os
import pathlib
import shutil
import socket
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from tfjc.support.files import append_line, write_text


class RunDirectory:
    """The files of one run's directory.

    `metrics.jsonl` has one JSON object for each evaluation. Numbers that are not finite are written as Python's json
    module writes them (Infinity, NaN).

    Attributes:
      path: the directory.
      config, operative_config: gin files.
      run: `run.json`.
      metrics: `metrics.jsonl`.
      spectra: `spectra.npz`.
      samples, checkpoints, tensorboard: directories.
      generator: `generator.json`, the architecture of the generator.
      saved_model: the exported generator.
      figure, score_figure: pictures of conditioning and of scores.
      scores: `scores.jsonl`.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = pathlib.Path(path)
        self.config = self.path / "config.gin"
        self.operative_config = self.path / "operative_config.gin"
        self.run = self.path / "run.json"
        self.metrics = self.path / "metrics.jsonl"
        self.spectra = self.path / "spectra.npz"
        self.samples = self.path / "samples"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.generator = self.path / "generator.json"
        self.saved_model = self.path / "saved_model"
        self.figure = self.path / "conditioning.png"
        self.score_figure = self.path / "scores.png"
        self.scores = self.path / "scores.jsonl"

    def create(self) -> Self:
        """Makes the directory and its parents where they do not exist.

        Raises:
          ValueError: the directory cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"workdir {self.path} cannot be made: {error.strerror}") from error
        return self

    def update_run(self, **fields: Any) -> None:
        """Sets `fields` in `run.json` and keeps the others. A field set to None is removed."""
        found = {name: value for name, value in {**self.read_run(), **fields}.items() if value is not None}
        write_text(self.run, json.dumps(found, indent=2) + "\n")

    def read_run(self) -> dict[str, Any]:
        """`run.json` as a dict; empty where the file does not exist.

        Raises:
          ValueError: the file is damaged.
        """
        try:
            found = json.loads(self.run.read_text(encoding="utf-8")) if self.run.exists() else {}
        except ValueError as error:
            raise ValueError(f"{self.run} is damaged: {error}") from error
        if not isinstance(found, dict):
            raise ValueError(f"{self.run} is damaged: expected an object, found a {type(found).__name__}")
        return found

    def was_forced(self) -> bool:
        """Whether a session continued the run with another configuration (`--force`)."""
        return any("changed" in session for session in self.read_run().get("sessions", ()))

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Adds one line to `metrics.jsonl` and flushes it to the disk."""
        append_line(self.metrics, row)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl` in order, without a last line that a kill cut off.

        Raises:
          ValueError: another line is damaged.
        """
        if not self.metrics.exists():
            return []
        lines, rows = self.metrics.read_text(encoding="utf-8", errors="replace").split("\n"), []
        for number, line in enumerate(lines[:-1], 1):
            try:
                rows.append(_row(line))
            except ValueError as error:
                raise ValueError(f"{self.metrics} is damaged in line {number}: {error}") from error
        return rows

    def read_spectra(self) -> dict[str, np.ndarray]:
        """The arrays of `spectra.npz` by name, with `steps` [T]. Without a file, `steps` is empty.

        Raises:
          ValueError: the file is damaged.
        """
        if not self.spectra.exists():
            return {"steps": np.zeros([0], int)}
        try:
            with np.load(self.spectra) as saved:
                return {name: saved[name] for name in (*saved.files, "steps")}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{self.spectra} is damaged: {error}") from error

    def missing(self, step: int) -> str | None:
        """What the records up to `step` lack, as text; None where every evaluation has its row and its spectrum.

        Every evaluation writes a row and a spectrum, the first one at step 0. In a run that was forced to continue with
        another configuration, spectra may begin later, because spectra at other latents are dropped.

        Raises:
          ValueError: a file is damaged.
        """
        rows = [row["step"] for row in self.read_metrics() if row["step"] <= step]
        spectra = [at for at in self.read_spectra()["steps"].tolist() if at <= step]
        expected = {at for at in rows if not self.was_forced() or at >= min(spectra, default=step)}
        for file, lost in (
            (self.metrics, {0, step, *spectra} - set(rows)),
            (self.spectra, expected - set(spectra)),
        ):
            if lost:
                return f"{file.name} lacks step {min(lost)}"
        return None

    def drop_after(self, step: int) -> None:
        """Removes rows and pictures of steps after `step`, which the continued run will make again."""
        rows = [row for row in self.read_metrics() if row["step"] <= step]
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))
        first = max(step, 0) + 1  # the picture of step 0 is drawn before the first record
        for picture in self.samples.glob("step_*.png"):
            if int(picture.stem.removeprefix("step_")) >= first:
                picture.unlink()

    def sweep(self) -> None:
        """Removes files that dead processes left half-written. Only the owner of the lock may call this."""
        found = [*self.path.glob(".*.tmp"), *self.path.glob("*/.*.tmp"), *self.checkpoints.glob("ckpt-*_temp")]
        for temporary in found:
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def _row(line):
    """A line of `metrics.jsonl` as a dict; raises ValueError unless it is an object with a step."""
    row = json.loads(line)
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        raise ValueError("expected an object with a whole number 'step'")
    return row


@contextlib.contextmanager
def lock(directory: str | os.PathLike) -> Iterator[None]:
    """A context in which this process alone uses a directory. `.lock` there names the process, its host and the time.

    The kernel releases the lock when the process ends, also after SIGKILL or a power cut. A name that such a process
    left in the file is stale; a warning says so. A file system without locks gives a warning, and no lock.

    Raises:
      ValueError: another process holds the lock; the message names it.
    """
    path = pathlib.Path(directory) / ".lock"
    with open(path, "a+", encoding="utf-8") as stream:
        if not _locks(stream):
            owner = _read_owner(path) or "another process"
            raise ValueError(f"{directory} is in use by {owner}; wait for its end, or choose another --workdir")
        if before := _read_owner(path):
            logging.getLogger("tfjc").warning("%s ended without releasing %s: its lock is stale", before, directory)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        _note_owner(stream, f"process {os.getpid()} on {socket.gethostname()} since {now}")
        try:
            yield
        finally:
            _note_owner(stream, "")


def is_locked(directory: str | os.PathLike) -> bool:
    """Whether a process may be using a directory: one holds its lock, or the system cannot tell."""
    try:
        import fcntl

        with open(pathlib.Path(directory) / ".lock", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (ImportError, OSError):  # BlockingIOError where a process holds the lock
        return True
    return False


def _locks(stream):
    """Whether an open file could be locked within two seconds; a process just killed may still hold the lock."""
    log = logging.getLogger("tfjc").warning
    try:
        import fcntl
    except ImportError:  # on Windows
        log("%s cannot be locked on this system: let no other process write there", stream.name)
        return True
    deadline = time.monotonic() + 2.0
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        except OSError as error:
            log("%s cannot be locked (%s): let no other process write there", stream.name, error.strerror)
            return True


def _read_owner(path):
    return path.read_text(encoding="utf-8", errors="replace").strip()[:200]


def _note_owner(stream, owner):
    with contextlib.suppress(OSError):  # on a full disk the lock holds without the owner's name
        os.ftruncate(stream.fileno(), 0)
        os.write(stream.fileno(), owner.encode())  # unbuffered: closing the stream would retry a failed write


def refuse_foreign(directory: str | os.PathLike, mark: str, kind: str) -> None:
    """Refuses a directory that holds files of another kind.

    Args:
      directory: a directory, which need not exist.
      mark: the file that every directory of this kind holds from its start.
      kind: "run" or "study", for the message.

    Raises:
      ValueError: the directory holds files, but not `mark`.
    """
    directory = pathlib.Path(directory)
    names = sorted(p.name for p in directory.iterdir() if not p.name.startswith(".")) if directory.is_dir() else []
    if names and mark not in names:
        found = ", ".join([*names[:3], *["..."] * (len(names) > 3)])
        raise ValueError(f"{directory} holds no {kind}, but other files ({found}); choose another --workdir")
