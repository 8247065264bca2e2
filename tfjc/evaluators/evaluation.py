"""Scores a trained generator against a dataset, once."""

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from numpy.typing import ArrayLike

import tfjc
from tfjc import datasets, evaluators, geometry


def choose(
    z: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    dataset: Callable[..., datasets.Dataset] = datasets.load,
    scores: Sequence[Any] | None = None,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    inception: bool = False,
    configured: Mapping[Any, Callable[..., evaluators.Evaluator]] | None = None,
    output_range: Sequence[float] | None = None,
) -> list[evaluators.Evaluator]:
    """The evaluators for a trained generator, made for its latents z [N, n_z].

    Args:
      z: latents of the samples.
      labels: [N, ...] for a class-conditional generator.
      dataset: callable (data_dir, manual_dir) → `datasets.Dataset`.
      scores: callables (z, data, labels) → evaluator, or pairs of such a callable and an interval as in
        `train_and_evaluate.scores`. By default those that suit the data: missing modes for Gaussians, a classifier's
        scores for labelled images, Inception's scores for images of 3 channels.
      data_dir, manual_dir: as in `tfjc.datasets.load`.
      inception: whether to add Inception's scores where `scores` lacks them.
      configured: {evaluator's class: callable that makes it}, for evaluators that `scores` does not name.
      output_range: as in `tfjc.evaluators.ClassifierEvaluator`; None leaves it to each evaluator.

    Raises:
      ValueError: the dataset cannot be loaded, or no score suits it.
    """
    data = dataset(data_dir=data_dir, manual_dir=manual_dir)
    chosen = _suited(data) if not scores else [pair[0] if isinstance(pair, (tuple, list)) else pair for pair in scores]
    conditions = {"labels": labels, "output_range": output_range}
    conditions = {name: value for name, value in conditions.items() if value is not None}

    def make(evaluator):
        return (configured or {}).get(evaluator, evaluator)(z, data, **conditions)

    made = [make(evaluator) for evaluator in chosen]
    if inception and not any(isinstance(evaluator, evaluators.InceptionEvaluator) for evaluator in made):
        made.append(make(evaluators.InceptionEvaluator))
    if not made:
        raise ValueError(
            f"no score suits dataset {data.name!r}: expected labels or images of 3 channels, found neither; "
            "--inception=DIR scores grey images without labels, too"
        )
    return made


def _suited(data):
    if len(data.image_shape) != 3:
        return [evaluators.MissingModes] if data.is_labelled else []
    classifier = [evaluators.ClassifierEvaluator] if data.is_labelled else []
    return classifier + ([evaluators.InceptionEvaluator] if data.image_shape[-1] == 3 else [])


def evaluate(
    generate: geometry.Generator,
    chosen: Sequence[evaluators.Evaluator],
    *,
    about: Mapping[str, Any],
    bar: Callable[[str, int], AbstractContextManager],
) -> tuple[dict[str, Any], list[str]]:
    """Scores G with each evaluator.

    Args:
      generate: callable z → images, or (z, labels) → images.
      chosen: the evaluators, as from `choose`.
      about: entries that the row begins with, after `time` and `tfjc`.
      bar: (description, total) → context whose `update(n)` shows progress.

    Returns:
      (row, messages). The row has the scores by their keys, and in `evaluators` what each score was taken with. For
      images it has `output_range`, the generator's [low, high], `output_range_from`, the reason
      (`evaluators.OutputRange`), and for a given range `clipped`, the share of values outside. The messages say which
      scores the row lacks: those of evaluators whose network is `evaluators.Unavailable`, and for images without labels
      those that need labels.

    Raises:
      ValueError: the samples are unlike the dataset's images, or their range is unknown.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    row, with_what, left_out = {"time": now, "tfjc": tfjc.__version__, **about}, [], _without_labels(chosen)
    evaluators.tfgan.load()
    for evaluator in chosen:
        evaluator.look(generate)
    for evaluator in chosen:
        name = type(evaluator).__name__
        try:
            with bar(f"{name}, real images", min(len(evaluator.z), len(evaluator.data.images))) as shown:
                evaluator.prepare(shown.update)
        except evaluators.Unavailable as error:
            left_out.append(f"{name} is left out: {error}")
            continue
        with bar(f"{name}, samples", len(evaluator.z)) as shown:
            row |= evaluator(generate, progress=shown.update)
        row |= _about_range(evaluator.found_range)
        with_what.append({"evaluator": name, **evaluator.about()})
    return {**row, "evaluators": with_what}, left_out


def _without_labels(chosen):
    """The message that says which scores real images without labels do not give, in a list."""
    data = chosen[0].data
    by_class = (evaluators.ClassifierEvaluator, evaluators.MissingModes)
    if data.is_labelled or any(isinstance(evaluator, by_class) for evaluator in chosen):
        return []
    return [f"classifier scores and missing modes are left out: the real images ({data.name}) have no labels"]


def _about_range(found):
    if found is None:
        return {}
    clipped = {"clipped": found.clipped} if found.reason == "given" else {}
    return {"output_range": [found.low, found.high], "output_range_from": found.reason, **clipped}


_REASONS = {
    "given": "as given",
    "operations": "by the generator's last operations",
    "type": "by the samples' type",
    "values": "by the samples' values",
}


def table(row: Mapping[str, Any]) -> str:
    """The output range and the scores of a row as text, one a line."""
    shown = {key: f"{value:.6g}" for key, value in row.items() if "/" in key and not isinstance(value, list)}
    if "output_range" in row:
        low, high = row["output_range"]
        scaled = "" if (low, high) == (-1.0, 1.0) else ", scaled to [-1, 1]"
        clipped = f", {row['clipped']:.2%} of the values clipped" if row.get("clipped") else ""
        shown = {"output range": f"[{low:g}, {high:g}] {_REASONS[row['output_range_from']]}{scaled}{clipped}", **shown}
    width = max(map(len, shown), default=0)
    return "\n".join(f"  {key:<{width}}  {value}" for key, value in shown.items())
