"""Names, files and lock of a run directory. Figures and reports read everything from here, without TensorFlow."""

import contextlib
import datetime
import json
import logging
import os
import pathlib
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from tfjc.support.files import append_line, replacing, take_lock, write_text

_SPECTRUM = ("z", "singular_values", "average_jacobian")  # the arrays of one evaluation's file
_KINDS = {int: "a whole number", (int, float): "a number", list: "a list", dict: "an object", str: "a string"}
_OF_RUN = {"seed": int, "status": str, "bindings": dict, "sessions": list, "scores": list}
_OF_RUN |= {"diverged": dict, "collapsed": dict}
_EVERY_ROW = {"step": int, "seconds": (int, float), "mean_log_condition": (int, float), "log_condition": list}


class RunDirectory:
    """The files of one run's directory.

    `metrics.jsonl` has one JSON object for each evaluation. Numbers that are not finite are written as Python's json
    module writes them (Infinity, NaN).

    Attributes:
      path: the directory.
      config, operative_config: gin files.
      run: `run.json`.
      metrics: `metrics.jsonl`.
      spectra: directory of `step_00000500.npz` and so on, one file for each evaluation.
      samples, checkpoints, tensorboard: directories.
      generator: `generator.json`, the architecture of the generator.
      saved_model: the exported generator.
      figure, score_figure: pictures of conditioning and of scores.
      scores: `scores.jsonl`.
      is_held: tells whether the directory is still the one that this process locked (`sessions.entered` sets it).
    """

    def __init__(self, path: str | os.PathLike, is_held: Callable[[], bool] = lambda: True) -> None:
        self.path, self.is_held = pathlib.Path(path), is_held
        self.config = self.path / "config.gin"
        self.operative_config = self.path / "operative_config.gin"
        self.run = self.path / "run.json"
        self.metrics = self.path / "metrics.jsonl"
        self.spectra = self.path / "spectra"
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

    def check_files(self) -> None:
        """Raises ValueError if something else stands where a run has a file. Reading a pipe or device may never end."""
        files = (self.config, self.operative_config, self.run, self.metrics, self.generator, self.scores)
        for path in (*files, self.figure, self.score_figure):
            if os.path.lexists(path) and not path.is_file():
                raise ValueError(f"{path} must be a file, and is none: remove it, or choose another --workdir")

    def check_kinds(self) -> None:
        """Raises ValueError if a file stands where a run has a directory, or something else where it has a file."""
        self.check_files()
        for path in (self.spectra, self.samples, self.checkpoints, self.tensorboard, self.saved_model):
            if os.path.lexists(path) and not path.is_dir():
                raise ValueError(f"{path} must be a directory, and is none: remove it, or choose another --workdir")
        exported = (self.saved_model / "saved_model.pb").exists() or not self.saved_model.exists()
        if not exported and any(self.saved_model.iterdir()):
            raise ValueError(f"{self.saved_model} holds other files than an exported generator: remove it")

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
            return _about(json.loads(_content(self.run))) if self.run.exists() else {}
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.run} is damaged: {error}") from error

    def was_forced(self) -> bool:
        """Whether a session continued the run with another configuration (`--force`)."""
        return any("changed" in session for session in self.read_run().get("sessions", ()))

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Adds one line to `metrics.jsonl` and flushes it to the disk."""
        append_line(self.metrics, row)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl` in order, without a last line that a kill cut off.

        Raises:
          ValueError: another line is damaged, or there is no file but something else.
        """
        if not self.metrics.exists():
            return []
        lines, rows = _content(self.metrics).split(b"\n"), []
        for number, line in enumerate(lines[:-1], 1):
            try:
                rows.append(_row(line))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{self.metrics} is damaged in line {number}: {error}") from error
        return rows

    def write_spectrum(
        self, step: int, z: np.ndarray, singular_values: np.ndarray, average_jacobian: np.ndarray
    ) -> None:
        """Writes the spectrum of one evaluation: z [B, n_z], singular values [B, n_z], average Jacobian [n_z]."""
        self.spectra.mkdir(exist_ok=True)
        with replacing(self._spectrum(step)) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, z=z, singular_values=singular_values, average_jacobian=average_jacobian)

    def read_spectrum(self, step: int) -> dict[str, np.ndarray]:
        """The arrays of one evaluation by name: `z` [B, n_z], `singular_values` [B, n_z], `average_jacobian` [n_z].

        Raises:
          ValueError: the file is missing or damaged.
        """
        path = self._spectrum(step)
        try:
            with np.load(path) as saved:
                return {name: saved[name] for name in _SPECTRUM}
        except Exception as error:  # a damaged file can raise anything
            raise ValueError(f"{path} is damaged: {error}") from error

    def spectrum_steps(self) -> list[int]:
        """The steps that have a spectrum, damaged or not, ascending."""
        return sorted(_by_step(self.spectra, ".npz"))

    def read_spectra(self) -> dict[str, np.ndarray]:
        """All spectra: `steps` [T], `z` [B, n_z], `singular_values` [T, B, n_z], `average_jacobian` [T, n_z].

        Without spectra, `steps` is empty and the others are missing.

        Raises:
          ValueError: a file is damaged.
        """
        steps = self.spectrum_steps()
        found = [self.read_spectrum(step) for step in steps]
        arrays = {name: np.stack([each[name] for each in found]) for name in _SPECTRUM[1:] if found}
        return {"steps": np.array(steps, int), **({"z": found[-1]["z"], **arrays} if found else {})}

    def missing(self, step: int) -> str | None:
        """What the records up to `step` lack, as text; None where every evaluation has its row and its spectrum.

        Every evaluation writes a row and a spectrum, the first one at step 0. In a run that was forced to continue with
        another configuration, spectra may begin later, because spectra at other latents are dropped.

        Raises:
          ValueError: `metrics.jsonl` is damaged.
        """
        rows = [row["step"] for row in self.read_metrics() if row["step"] <= step]
        spectra = [at for at in self.spectrum_steps() if at <= step]
        expected = {at for at in rows if not self.was_forced() or at >= min(spectra, default=step)}
        for file, lost in (
            (self.metrics, {0, step, *spectra} - set(rows)),
            (self.spectra, expected - set(spectra)),
        ):
            if lost:
                return f"{file.name} lacks step {min(lost)}"
        try:
            for at in spectra:
                self.read_spectrum(at)
        except ValueError as error:
            return str(error)
        return None

    def lost(self) -> str | None:
        """What the records up to their newest step lack, as text; None where they are complete.

        Raises:
          ValueError: `metrics.jsonl` is damaged.
        """
        return self.missing(max((0, *(row["step"] for row in self.read_metrics()), *self.spectrum_steps())))

    def drop_after(self, step: int) -> None:
        """Removes rows, spectra and pictures of steps after `step`, which the continued run will make again."""
        rows = [row for row in self.read_metrics() if row["step"] <= step]
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))
        for at, picture in _by_step(self.samples, ".png").items():
            if at > max(step, 0):  # the picture of step 0 is drawn before the first record
                picture.unlink()
        self.drop_spectra(step)

    def drop_spectra(self, step: int = -1) -> None:
        """Removes the spectra of steps after `step`; all of them by default."""
        for at, path in _by_step(self.spectra, ".npz").items():
            if at > step:
                path.unlink()

    def _spectrum(self, step):
        return self.spectra / f"step_{step:08d}.npz"

    def sweep(self) -> None:
        """Removes files that dead processes left half-written. Only the owner of the lock may call this."""
        found = [*self.path.glob(".*.tmp"), *self.path.glob("*/.*.tmp"), *self.checkpoints.glob("ckpt-*_temp")]
        for temporary in found:
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def _by_step(directory, ending):
    """{step: file} of the files `step_00000500` and so on with an ending."""
    names = ((path, re.fullmatch(r"step_(\d+)", path.stem)) for path in directory.glob(f"step_*{ending}"))
    return {int(name[1]): path for path, name in names if name}


def _content(path):
    """The bytes of a regular file; reading a pipe would wait for ever."""
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    return path.read_bytes()


def _about(found):
    """The content of `run.json`; raises ValueError where it or one of its fields is of another type."""
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, found a {type(found).__name__}")
    for name, kind in _OF_RUN.items():
        if name in found and not isinstance(found[name], kind):
            raise ValueError(f"expected {_KINDS[kind]} {name!r}, found {found[name]!r:.80}")
    for name in ("sessions", "scores"):
        if not all(isinstance(entry, dict) for entry in found.get(name, ())):
            raise ValueError(f"expected objects in {name!r}, found {found[name]!r:.80}")
    return found


def _row(line):
    """A line of `metrics.jsonl`, in bytes, as a dict; raises ValueError unless it has what every line has."""
    row = json.loads(line.decode("utf-8"))
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, found {row!r:.80}")
    for name, kind in _EVERY_ROW.items():
        if not isinstance(row.get(name), kind) or isinstance(row[name], bool):
            raise ValueError(f"expected {_KINDS[kind]} {name!r}, found {row.get(name)!r:.80}")
    return row


@contextlib.contextmanager
def lock(directory: str | os.PathLike) -> Iterator[Callable[[], bool]]:
    """A context in which this process alone uses a directory. `.lock` there names the process, its host and the time.

    The context gives a function that tells whether the directory is still there under its name.

    The kernel releases the lock when the process ends, also after SIGKILL or a power cut. A name that such a process
    left in the file is stale; a warning says so. A file system without locks gives a warning, and no lock.

    Raises:
      ValueError: another process holds the lock; the message names it.
    """
    path = pathlib.Path(directory) / ".lock"
    if os.path.lexists(path) and not path.is_file():
        raise ValueError(f"{path} must be a file, and is none: remove it")
    with open(path, "a+", encoding="utf-8") as stream:
        if not _locks(stream):
            owner = _read_owner(path) or "another process"
            raise ValueError(f"{directory} is in use by {owner}; wait for its end, or choose another --workdir")
        if before := _read_owner(path):
            logging.getLogger("tfjc").warning("%s ended without releasing %s: its lock is stale", before, directory)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        _note_owner(stream, f"process {os.getpid()} on {socket.gethostname()} since {now}")
        try:
            yield lambda: _is_at(stream, path)
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


def _is_at(stream, path):
    """Whether an open file is the file of a name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
    except OSError:
        return False


def _locks(stream):
    """Whether an open file could be locked within two seconds; a process just killed may still hold the lock."""
    deadline = time.monotonic() + 2.0
    try:
        while not (taken := take_lock(stream, wait=False)) and time.monotonic() < deadline:
            time.sleep(0.1)
    except OSError as error:
        log = logging.getLogger("tfjc").warning
        log("%s cannot be locked (%s): let no other process write there", stream.name, error.strerror)
        return True
    return taken


def _read_owner(path):
    return path.read_text(encoding="utf-8", errors="replace").strip()[:200]


def _note_owner(stream, owner):
    with contextlib.suppress(OSError):  # on a full disk the lock holds without the owner's name
        os.ftruncate(stream.fileno(), 0)
        os.write(stream.fileno(), owner.encode())  # unbuffered: closing the stream would retry a failed write


def refuse_foreign(directory: str | os.PathLike, mark: str, kind: str) -> None:
    """Refuses a file, and a directory that holds files of another kind.

    Args:
      directory: a directory, which need not exist.
      mark: the file that every directory of this kind holds from its start.
      kind: "run" or "study", for the message.

    Raises:
      ValueError: the directory holds files, but not `mark`, or it is a file itself.
    """
    directory = pathlib.Path(directory)
    if directory.is_file():
        raise ValueError(f"expected a directory, found the file {directory}; choose another --workdir")
    names = sorted(p.name for p in directory.iterdir() if not p.name.startswith(".")) if directory.is_dir() else []
    if names and mark not in names:
        found = ", ".join([*names[:3], *["..."] * (len(names) > 3)])
        raise ValueError(f"{directory} holds no {kind}, but other files ({found}); choose another --workdir")
