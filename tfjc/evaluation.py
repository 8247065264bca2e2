"""Scores a trained generator against a dataset, once."""

import datetime

import tfjc
from tfjc import datasets, evaluators


def choose(
    z,
    *,
    labels=None,
    dataset=datasets.load,
    scores=None,
    data_dir=None,
    manual_dir=None,
    inception=False,
    configured=None,
):
    """The evaluators for a trained generator, made for its latents z [N, n_z].

    Args:
      z: latents of the samples.
      labels: [N, ...] for a class-conditional generator.
      dataset: callable (data_dir, manual_dir) → `datasets.Dataset`.
      scores: callables (z, data, labels) → evaluator, or pairs of one and an interval, as `train_and_evaluate.scores`
        has them; by default what suits the data: modes for Gaussians, a classifier where there are labels,
        Inception's for colour images.
      data_dir, manual_dir: as in `tfjc.datasets.load`.
      inception: whether Inception's scores are wanted in any case.
      configured: {evaluator's class: callable to make it by}, for those that are not named in `scores`.

    Raises:
      ValueError: the data are not to be had, or nothing suits them.
    """
    data = dataset(data_dir=data_dir, manual_dir=manual_dir)
    chosen = _suited(data) if not scores else [pair[0] if isinstance(pair, (tuple, list)) else pair for pair in scores]
    conditions = {} if labels is None else {"labels": labels}

    def make(evaluator):
        return (configured or {}).get(evaluator, evaluator)(z, data, **conditions)

    made = [make(evaluator) for evaluator in chosen]
    if inception and not any(isinstance(evaluator, evaluators.InceptionEvaluator) for evaluator in made):
        made.append(make(evaluators.InceptionEvaluator))
    if not made:
        raise ValueError(f"dataset {data.name!r} has neither labels nor colours: no scores suit it")
    return made


def _suited(data):
    if len(data.image_shape) != 3:
        return [evaluators.MissingModes] if data.is_labelled else []
    classifier = [evaluators.ClassifierEvaluator] if data.is_labelled else []
    return classifier + ([evaluators.InceptionEvaluator] if data.image_shape[-1] == 3 else [])


def evaluate(generate, chosen, *, about, bar):
    """Scores G with each of the evaluators `chosen`; returns a row for a file of JSON lines, and what was left out.

    The row has `time`, `tfjc`, what `about` says, the scores by their keys, and in `evaluators` what each was taken
    with. `bar(description, total)` gives a context with `update(n)` to show progress. What was left out are the
    messages of evaluators whose network is not to be had (`evaluators.Unavailable`). Raises ValueError for a generator
    whose samples are unlike the dataset's images.
    """
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    row, with_what, left_out = {"time": now, "tfjc": tfjc.__version__, **about}, [], []
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
        with_what.append({"evaluator": name, **evaluator.about()})
    return {**row, "evaluators": with_what}, left_out


def table(row):
    """The scores of a row as text, one a line."""
    shown = {key: value for key, value in row.items() if "/" in key and not isinstance(value, list)}
    width = max(map(len, shown), default=0)
    return "\n".join(f"  {key:<{width}}  {value:.6g}" for key, value in shown.items())
