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
    output_range=None,
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
      output_range: as in `tfjc.evaluators.ClassifierEvaluator`; None leaves it to each evaluator.

    Raises:
      ValueError: the data are not to be had, or nothing suits them.
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
    with. For images it has `output_range`, the generator's [low, high] that was brought to [−1, 1],
    `output_range_from`, how that is known (`evaluators.OutputRange`), and `clipped`, the share of values that were
    outside a range that was given. `bar(description, total)` gives a context with `update(n)` to show progress. What
    was left out are the messages of evaluators whose network is not to be had (`evaluators.Unavailable`).

    Raises:
      ValueError: the samples are unlike the dataset's images, or of a range that is not known.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
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
        row |= _about_range(evaluator.found_range)
        with_what.append({"evaluator": name, **evaluator.about()})
    return {**row, "evaluators": with_what}, left_out


def _about_range(found):
    if found is None:
        return {}
    clipped = {"clipped": found.clipped} if found.reason == "given" else {}
    return {"output_range": [found.low, found.high], "output_range_from": found.reason, **clipped}


_REASONS = {
    "given": "as was given",
    "operations": "by the generator's last operations",
    "type": "by the samples' type",
    "values": "by the samples' values",
}


def table(row):
    """The output range and the scores of a row as text, one a line."""
    shown = {key: f"{value:.6g}" for key, value in row.items() if "/" in key and not isinstance(value, list)}
    if "output_range" in row:
        low, high = row["output_range"]
        scaled = "" if (low, high) == (-1.0, 1.0) else ", brought to [-1, 1]"
        clipped = f", {row['clipped']:.2%} of the values clipped" if row.get("clipped") else ""
        shown = {"output range": f"[{low:g}, {high:g}] {_REASONS[row['output_range_from']]}{scaled}{clipped}", **shown}
    width = max(map(len, shown), default=0)
    return "\n".join(f"  {key:<{width}}  {value}" for key, value in shown.items())
