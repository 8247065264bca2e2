"""Names and files of a run directory: everything a figure or report needs, readable without TensorFlow."""

import contextlib
import json
import os
import pathlib


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
        """Sets `fields` in `run.json`, keeping the others."""
        write_text(self.run, json.dumps({**self.read_run(), **fields}, indent=2) + "\n")

    def read_run(self):
        """`run.json` as a dict, empty where there is none; raises ValueError where it cannot be read."""
        try:
            return json.loads(self.run.read_text(encoding="utf-8")) if self.run.exists() else {}
        except ValueError as error:
            raise ValueError(f"{self.run} is damaged: {error}") from error

    def append_metrics(self, row):
        """Adds one line to `metrics.jsonl` and brings it to the disk."""
        append_line(self.metrics, row)

    def read_metrics(self):
        """The rows of `metrics.jsonl` in order; a last line cut off by a kill is left out."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def drop_metrics_after(self, step):
        """Removes rows past `step`: the run goes on from a checkpoint taken there and will write them again."""
        rows = [row for row in self.read_metrics() if row["step"] <= step]
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))


@contextlib.contextmanager
def replacing(path):
    """A temporary path beside `path` to write to; moved onto `path` in one step when the block ends well."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Writes `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_line(path, row):
    """Adds `row` to a file of JSON lines and brings it to the disk."""
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def is_score(key):
    """Whether a key of `metrics.jsonl` is that of a score with its protocol: `what/network/...`, not `weights/...`."""
    return "/" in key and not key.startswith("weights/")
