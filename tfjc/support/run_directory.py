"""Names and files of a run directory: everything a figure or report needs, readable without TensorFlow."""

import contextlib
import datetime
import fcntl
import json
import logging
import os
import pathlib
import shutil
import socket
import time
import zipfile
import zlib

import numpy as np

from tfjc.support.files import append_line, write_text


class RunDirectory:
    """A run's directory: its names, atomic writing, and `metrics.jsonl` (one JSON object an evaluation).

    Non-finite numbers are written as Python's json writes them (Infinity, NaN).
    """

    def __init__(self, path):
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

    def create(self):
        """Makes the directory (and its parents) if it is not there; raises ValueError where that cannot be."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"workdir {self.path} cannot be made: {error.strerror}") from error
        return self

    def update_run(self, **fields):
        """Sets `fields` in `run.json`, keeping the others; a field of None is taken out."""
        found = {name: value for name, value in {**self.read_run(), **fields}.items() if value is not None}
        write_text(self.run, json.dumps(found, indent=2) + "\n")

    def read_run(self):
        """`run.json` as a dict, empty where there is none; raises ValueError where it cannot be read."""
        try:
            found = json.loads(self.run.read_text(encoding="utf-8")) if self.run.exists() else {}
        except ValueError as error:
            raise ValueError(f"{self.run} is damaged: {error}") from error
        if not isinstance(found, dict):
            raise ValueError(f"{self.run} is damaged: expected an object, found a {type(found).__name__}")
        return found

    def was_forced(self):
        """Whether a session was forced to go on with another configuration than the one before."""
        return any("changed" in session for session in self.read_run().get("sessions", ()))

    def append_metrics(self, row):
        """Adds one line to `metrics.jsonl` and brings it to the disk."""
        append_line(self.metrics, row)

    def read_metrics(self):
        """The rows of `metrics.jsonl` in order; a last line cut off by a kill is left out.

        Raises ValueError for a line that is damaged otherwise.
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

    def read_spectra(self):
        """The arrays of `spectra.npz` by name, `steps` [T] among them; none where there is no file.

        Raises ValueError where the file is damaged.
        """
        if not self.spectra.exists():
            return {"steps": np.zeros([0], int)}
        try:
            with np.load(self.spectra) as saved:
                return {name: saved[name] for name in (*saved.files, "steps")}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{self.spectra} is damaged: {error}") from error

    def missing(self, step):
        """What the records up to `step` lack, as text; None where every evaluation has its row and its spectrum.

        An evaluation writes both, the first one at step 0. Spectra may begin later where a session was forced to go on
        with another configuration, since spectra at other latents are dropped. Raises ValueError for damaged files.
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

    def drop_after(self, step):
        """Removes rows and pictures past `step`: the run goes on from there and will make them again."""
        rows = [row for row in self.read_metrics() if row["step"] <= step]
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))
        for picture in self.samples.glob("step_*.png"):
            if int(picture.stem.removeprefix("step_")) > max(step, 0):  # that of step 0 is drawn before
                picture.unlink()

    def sweep(self):
        """Removes what processes that are no more have left half-written; for whoever holds the lock."""
        found = [*self.path.glob(".*.tmp"), *self.path.glob("*/.*.tmp"), *self.checkpoints.glob("ckpt-*_temp")]
        for temporary in found:
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def _row(line):
    """A line of `metrics.jsonl` as a dict; ValueError for anything but an object with a step."""
    row = json.loads(line)
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        raise ValueError("expected an object with a whole number 'step'")
    return row


@contextlib.contextmanager
def lock(directory):
    """Keeps a directory for this process alone; `.lock` in it says which process, on which host and since when.

    The kernel drops the lock when its process ends, by SIGKILL or a power cut too: what such a process left in the file
    is stale, and a warning says so. Raises ValueError that names the owner where another process holds the lock.
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


def _locks(stream):
    """Whether this process now has the lock of an open file; a process just killed has two seconds to let go of it."""
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
            log = logging.getLogger("tfjc").warning
            log("%s cannot be locked (%s): let no other process write there", stream.name, error.strerror)
            return True


def _read_owner(path):
    return path.read_text(encoding="utf-8", errors="replace").strip()[:200]


def _note_owner(stream, owner):
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(stream.fileno(), 0)
        os.write(stream.fileno(), owner.encode())  # past the stream, which would try again when it is closed


def refuse_foreign(directory, mark, kind):
    """Raises ValueError where a directory holds files, but not `mark`, the first file of every run (or study)."""
    directory = pathlib.Path(directory)
    names = sorted(p.name for p in directory.iterdir() if not p.name.startswith(".")) if directory.is_dir() else []
    if names and mark not in names:
        found = ", ".join([*names[:3], *["..."] * (len(names) > 3)])
        raise ValueError(f"{directory} holds no {kind}, but other files ({found}); choose another --workdir")
