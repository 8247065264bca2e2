"""Scores a trained generator: `python -m tfjc.evaluate --workdir=runs/x`, or `--model=... --gin_file=...`."""

import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags, logging

from tfjc.runs import commands
from tfjc.support import checks, gin_files
from tfjc.support.files import append_line
from tfjc.support.run_directory import RunDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported, below

_NAMED = commands.define_generator_flags()
flags.adopt_module_key_flags(commands)  # --help lists them
_WORKDIR = flags.DEFINE_string("workdir", None, "A run directory: its generator, its dataset and its scores.")
_GIN_FILE = flags.DEFINE_multi_string("gin_file", [], "Gin file that names the dataset and the scores; repeatable.")
_GIN_BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A gin binding that overrides the files; repeatable.")
_SAMPLES = flags.DEFINE_integer("samples", 10_000, "Number of samples to score.", lower_bound=2)
_INCEPTION = flags.DEFINE_string("inception", None, "Directory or TF-Hub handle of TF-GAN's Inception module.")
_TRAIN_CLASSIFIER = flags.DEFINE_boolean(
    "train_classifier", False, "Train the dataset's classifier, and print its accuracy."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "The data directory of tensorflow-datasets.")
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "A directory with the dataset's official archives.")
_OUTPUT_RANGE = flags.DEFINE_list(
    "output_range", None, "The generator's values of black and white, LOW,HIGH: 0,1 or 0,255; inferred by default."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "File of JSON lines to append to; scores.jsonl of the run, or in analysis/NAME, by default."
)


def main(argv: Sequence[str]) -> int:
    """Scores the generator that the flags name; returns the exit status, 2 if it cannot be scored."""
    return commands.status("evaluate", _start, argv)


def _start():
    if _WORKDIR.value and _NAMED.model.value:
        raise ValueError("--workdir and --model both name a generator: give one of them")
    if not (_WORKDIR.value or _NAMED.model.value or _TRAIN_CLASSIFIER.value):
        raise ValueError(
            "--workdir (a run directory) or --model (a .keras or .h5 file, or a SavedModel directory) is needed"
        )
    for kind, path in (("run directory", _WORKDIR.value), ("model", _NAMED.model.value)):
        if path:
            checks.existing(kind, path)  # before TensorFlow is imported, which takes seconds
    for name in _GIN_FILE.value:
        gin_files.find(name)
    logging.set_verbosity(logging.WARNING)
    from tfjc.runs import configuration

    with configuration.explained():
        _evaluate(configuration)


def _evaluate(configuration):
    from tfjc.evaluators import evaluation
    from tfjc.runs import devices

    path = _WORKDIR.value or _NAMED.model.value
    configuration.parse(
        _files(configuration, path), [*_GIN_BINDINGS.value, *commands.inception_binding(_INCEPTION.value)]
    )
    devices.prepare(_NAMED.jit_compile.value)  # deterministic, so that a classifier is the same as trained in a run
    data = {"data_dir": _DATA_DIR.value, "manual_dir": _MANUAL_DIR.value}
    if _TRAIN_CLASSIFIER.value:
        _train_classifier(configuration.dataset(**data))
        if not path:
            return
    loaded, z, labels = commands.load_generator(_NAMED, path, _SAMPLES.value)
    if _OUTPUT_RANGE.value is not None:
        data["output_range"] = commands.output_range(_OUTPUT_RANGE.value)
    chosen = configuration.choose(z, labels=labels, inception=bool(_INCEPTION.value), **data)
    output = _output(path)
    about = commands.about_latents(_NAMED, loaded) | {"samples": _SAMPLES.value}
    row, left_out = evaluation.evaluate(loaded.generate, chosen, about=about, bar=_Bar)
    for message in left_out:
        print(f"note: {message}", file=sys.stderr)
    if not row["evaluators"]:
        raise ValueError("nothing could be scored")
    print(evaluation.table(row))
    output.parent.mkdir(parents=True, exist_ok=True)
    append_line(output, row)
    print(f"added to {output}")


def _files(configuration, path):
    """The gin files: the configuration of a run directory, then the named ones.

    Raises ValueError for --workdir without a configuration, and, without --trust, for one that can run code.
    """
    config = RunDirectory(path).config if path else None
    if path:
        RunDirectory(path).check_files()
    if _WORKDIR.value and not config.exists():
        raise ValueError(f"{path} is no run directory: it has no {config.name}")
    if config and config.exists() and not _NAMED.trust.value:
        configuration.refuse_code(config)
    return [str(config), *_GIN_FILE.value] if config and config.exists() else _GIN_FILE.value


def _train_classifier(data):
    from tfjc import evaluators

    found = evaluators.classifier(data)
    print(f"classifier of {found.name}: {found.accuracy:.2%} right on held-out images, sha256 {found.digest}")


def _output(path):
    """The file that the row is appended to; raises ValueError if something else is there."""
    run = RunDirectory(path)
    default = run.scores if run.run.exists() else pathlib.Path("analysis") / run.path.resolve().stem / "scores.jsonl"
    output = pathlib.Path(_OUTPUT.value or default)
    if output.exists() and not output.is_file():
        found = "directory" if output.is_dir() else "device or pipe"
        raise ValueError(f"--output must be a file to add a line to, found the {found} {output}")
    return output


class _Bar:
    """A progress bar of images. It appears at the first update, after a classifier was trained or loaded."""

    def __init__(self, description: str, total: int) -> None:
        self._options: dict[str, Any] = {"desc": description, "total": total}
        self._shown: Any = None

    def update(self, count: int) -> None:
        """Adds `count` images."""
        from tqdm import tqdm

        self._shown = self._shown or tqdm(**self._options, unit=" images", leave=False)
        self._shown.update(count)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._shown.close()


def run() -> None:
    """Starts the command line."""
    commands.start("evaluate", main)


if __name__ == "__main__":
    run()
