"""The work of `python -m tfjc.evaluate`: finds what to score, scores it, and adds a row to a file."""

import functools
import os
import pathlib
import sys
import types
from collections.abc import Callable
from typing import Any

from tfjc.runs import commands
from tfjc.support import checks, gin_files
from tfjc.support.files import append_line
from tfjc.support.run_directory import RunDirectory


def check(named: types.SimpleNamespace, asked: types.SimpleNamespace) -> None:
    """Raises ValueError unless the flags name one thing to score, which exists. TensorFlow is not imported for that.

    Args:
      named: the flags of a generator (`commands.define_generator_flags`).
      asked: the other flags of the command, by name.
    """
    sources = {"run directory": asked.workdir.value, "model": named.model.value, "images": asked.images.value}
    given = {kind: path for kind, path in sources.items() if path}
    if len(given) > 1:
        raise ValueError("--workdir, --model and --images each name what is scored: give one of them")
    if not given and not asked.train_classifier.value:
        raise ValueError(
            "--workdir (a run directory) or --model (a .keras or .h5 file, or a SavedModel directory) is needed, "
            "or --images (a folder, .npy or .npz file)"
        )
    for kind, path in given.items():
        checks.existing(kind, path)
    for name in asked.gin_file.value:
        gin_files.find(name)
    if asked.images.value and asked.samples.present:
        raise ValueError("--samples is the number of images that a generator makes; --images scores all images")
    commands.check_generator_flags(named)
    commands.output_range(asked.output_range.value)
    for path in given.values():
        _output(path, asked.output.value)


def score(named: types.SimpleNamespace, asked: types.SimpleNamespace) -> None:
    """Scores what the flags name, prints the scores, and appends them to a file; arguments as in `check`.

    Raises:
      ValueError: nothing can be scored.
    """
    from tfjc.evaluators import evaluation, given
    from tfjc.runs import configuration, devices

    path = asked.workdir.value or named.model.value or asked.images.value
    bindings = [*asked.gin_bindings.value, *commands.inception_binding(asked.inception.value)]
    configuration.parse(_files(named, asked, path), [*bindings, *_names_dataset(asked.reference.value)])
    devices.prepare(named.jit_compile.value)  # deterministic, so that a classifier is the same as trained in a run
    where = {"data_dir": asked.data_dir.value, "manual_dir": asked.manual_dir.value}
    real: dict[str, Callable[..., Any]] = {}
    if _is_path(asked.reference.value):
        real["dataset"] = lambda **_: given.reference(asked.reference.value, configuration.dataset_size())
    elif asked.reference.value:
        real["dataset"] = configuration.dataset
    if asked.train_classifier.value:
        _train_classifier(real.get("dataset", configuration.dataset)(**where))
        if not path:
            return
    z, labels, about, generator_for = (_given_images if asked.images.value else _generator)(named, asked, path)
    if asked.reference.value:
        about["reference"] = asked.reference.value
    if output_range := commands.output_range(asked.output_range.value):
        where["output_range"] = output_range
    chosen = configuration.choose(z, labels=labels, inception=bool(asked.inception.value), **where, **real)
    generate = generator_for(chosen[0].data)
    output = _output(path, asked.output.value)
    row, left_out = evaluation.evaluate(generate, chosen, about=about, bar=_Bar)
    for message in left_out:
        print(f"note: {message}", file=sys.stderr)
    if not row["evaluators"]:
        raise ValueError("nothing could be scored")
    print(evaluation.table(row))
    output.parent.mkdir(parents=True, exist_ok=True)
    append_line(output, row)
    print(f"added to {output}")


def _given_images(named, asked, path):
    """(latents, labels, entries of the row, function data → generator) of images in a folder or file."""
    from tfjc.evaluators import given
    from tfjc.runs import configuration

    images = given.read(path, configuration.dataset_size())
    about = {"images": path, "samples": len(images)}
    return given.indices(images), None, about, functools.partial(given.look_up, images)


def _generator(named, asked, path):
    """As `_given_images`, of a trained generator."""
    loaded, z, labels = commands.load_with_latents(named, path, asked.samples.value)
    about = commands.about_latents(named, loaded) | {"samples": asked.samples.value}
    return z, labels, about, lambda data: loaded.generate


def _files(named, asked, path):
    """The gin files: the configuration of a run directory, then the named ones.

    Raises ValueError for --workdir without a configuration, and, without --trust, for one that can run code.
    """
    if not path or asked.images.value:
        return asked.gin_file.value
    run = RunDirectory(path)
    run.check_files()
    if asked.workdir.value and not run.config.exists():
        raise ValueError(f"{path} is no run directory: it has no {run.config.name}")
    if not run.config.exists():
        return asked.gin_file.value
    if not named.trust.value:
        from tfjc.runs import configuration

        configuration.refuse_code(run.config)
    return [str(run.config), *asked.gin_file.value]


def _names_dataset(reference):
    """The gin binding for a reference that is a dataset's name; nothing for a folder or file."""
    return [f"dataset.name = {reference!r}"] if reference and not _is_path(reference) else []


def _is_path(reference):
    """Whether a reference is an existing folder or file, not the name of a dataset.

    Raises ValueError where it is neither.
    """
    from tfjc import datasets

    if not reference or reference in datasets.NAMES:
        return False
    if not os.path.exists(reference):
        raise ValueError(f"{checks.unknown('reference', reference, datasets.NAMES)}; or a folder, .npy or .npz file")
    return True


def _train_classifier(data):
    from tfjc import evaluators

    found = evaluators.classifier(data)
    print(f"classifier of {found.name}: {found.accuracy:.2%} right on held-out images, sha256 {found.digest}")


def _output(path, asked):
    """The file that the row is appended to; raises ValueError if something else is there."""
    run = RunDirectory(path)
    default = run.scores if run.run.exists() else pathlib.Path("analysis") / run.path.resolve().stem / "scores.jsonl"
    output = pathlib.Path(asked or default)
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
