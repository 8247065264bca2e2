"""A run's records from what modules measured, by tfjc's own arithmetic, without TensorFlow."""

import importlib
import pathlib
import sys
from unittest import mock

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

_PAPER_COUNT = 360  # of tfjc.evaluators.modes


def _arithmetic():
    """`tfjc.geometry._spectrum` and `tfjc.evaluators.scores`, whose arithmetic is NumPy's.

    Where TensorFlow is missing, the rooms' other modules are left out, and mocks stand for what these two import.
    """
    names = "tfjc.geometry._spectrum", "tfjc.evaluators.scores"
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError:
        stand_ins = {name: mock.MagicMock() for name in ("tensorflow", "keras", "tfjc.geometry._generator")}
        for room in ("tfjc.geometry", "tfjc.evaluators"):
            stand_ins[room] = mock.MagicMock(__path__=[str(ROOT / room.replace(".", "/"))], __spec__=None)
        sys.modules |= stand_ins
        try:
            return [importlib.import_module(name) for name in names]
        finally:
            for name in stand_ins:
                del sys.modules[name]


_spectrum, scores = _arithmetic()


def spectrum(metric_tensors, average, epsilon):
    """The `tfjc.geometry.Spectrum` of metric tensors [B, n_z, n_z] and of E[J]ᵀE[J] [n_z, n_z], both float64."""
    values, _ = _spectrum._decompose_gram(None, metric_tensors, False)
    mean, _ = _spectrum._decompose_gram(None, average[None], False)
    return _spectrum.Spectrum(values, mean[0], np.mean(metric_tensors, axis=0), None, epsilon)


def conditioning(found, q, low, high):
    """What a line of `metrics.jsonl` says of a `Spectrum` and quotients [B], as `ConditioningEvaluator.summary`."""
    of_spectrum = found.summary()
    return {
        **{name: of_spectrum[name] for name in _spectrum.RECORDED},
        "quotient_quantiles": _spectrum.quantiles(q),
        "clamped_low": float(np.mean(q < np.float32(low), dtype=np.float32)),
        "clamped_high": float(np.mean(q > np.float32(high), dtype=np.float32)),
    }


def scored(logits, features, real, name, where, everything=True):
    """What a line says of samples' logits and features beside real features, as `ClassifierEvaluator` with `fast`.

    Keys by protocol, each number under its plain name too. Without `everything` the kernel distance, precision, recall,
    density and coverage are left out, which take a processor 10 seconds of 10,000 samples.
    """
    count, classes = len(features), np.argmax(logits, axis=1)
    found = {
        f"classifier_score/{name}/{count}": classifier_score(logits),
        f"frechet_distance/{where}/{count}": scores.frechet_distance(real, features),
    }
    if everything:
        found[f"kernel_distance/{where}/{count}"] = scores.kernel_distance(real, features)
    for number in sorted({min(_PAPER_COUNT, count), count}):
        modes = scores.missing_modes(classes[:number], logits.shape[1])
        found |= {f"{key}/{name}/{number}": value for key, value in modes.items()}
    if everything:
        found |= {f"{key}/{where}/{count}": value for key, value in scores.prdc(real, features).items()}
    plain = {}
    for key, value in found.items():
        plain.setdefault(key.partition("/")[0], value)
    return {**plain, **found}


def ready():
    """Nothing: a process that has called it has loaded what `scored` needs."""


def classifier_score(logits):
    """exp E[KL(p(y|x) ‖ p(y))] in float64, as TF-GAN's `classifier_score_from_logits` (Salimans et al. 2016)."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    p = np.exp(log_p)
    return float(np.exp(np.mean(np.sum(p * (log_p - np.log(np.mean(p, axis=0))), axis=1))))


def picture(images):
    """Images [B, h, w, 1 or 3] in [−1, 1] as one of uint8 in rows of ⌈√B⌉, as `tfjc.callbacks.samples.grid`."""
    values = np.clip(np.round((images + 1.0) * 127.5), 0.0, 255.0).astype(np.uint8)
    tiles = np.pad(values, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=128)
    columns = int(np.ceil(np.sqrt(len(tiles))))
    rows = -(-len(tiles) // columns)
    tiles = np.pad(tiles, [(0, rows * columns - len(tiles)), (0, 0), (0, 0), (0, 0)], constant_values=128)
    height, width, channels = tiles.shape[1:]
    tiles = tiles.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return tiles.reshape(rows * height, columns * width, channels).squeeze()
