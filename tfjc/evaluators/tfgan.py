"""TF-GAN's scores, also on TensorFlow versions on which `import tensorflow_gan` fails."""

import contextlib
import functools
import importlib
import importlib.util
import pathlib
import sys
import threading
import types
import warnings

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfjc.evaluators import scores
from tfjc.evaluators._samples import Unavailable

INCEPTION = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
_ONE_BLOCK = 10_240  # most features for TF-GAN's kernel distance in one block; 10,000 need 4.1 GB
_lock = threading.RLock()


def load() -> types.ModuleType:
    """The module `tensorflow_gan.python.eval`.

    `import tensorflow_gan` fails on TensorFlow 2.16 and newer, which lack tf.estimator. There the module is loaded
    under empty parent packages, and `sys.modules` is restored.

    Raises:
      Unavailable: tensorflow-gan is not installed, or tensorflow-hub cannot be imported.
    """
    with _lock:  # other threads must not see `sys.modules` while it is changed
        return _load()


@functools.cache
def _load():
    hub()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TF-GAN uses deprecated functions
        with _restored("tensorflow_gan") as keep, contextlib.suppress(Exception):
            importlib.import_module("tensorflow_gan")
            keep()
        if "tensorflow_gan" in sys.modules:
            return importlib.import_module("tensorflow_gan.python.eval")
        with _restored("tensorflow_gan"):
            for name, path in _folders():
                package = sys.modules[name] = types.ModuleType(name)
                package.__path__ = [str(path)]
            return importlib.import_module("tensorflow_gan.python.eval")


@functools.cache
def hub() -> types.ModuleType:
    """The module `tensorflow_hub`, which TF-GAN imports; raises Unavailable, with a remedy, if its import fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("tensorflow_hub")
        except ModuleNotFoundError as error:
            package = "'setuptools<82'" if error.name == "pkg_resources" else error.name
            raise Unavailable(f"tensorflow-hub needs {error.name}: pip install {package}") from error


def _folders():
    spec = importlib.util.find_spec("tensorflow_gan")
    if spec is None:
        raise Unavailable("tensorflow-gan is not installed: pip install tensorflow-gan")
    root = pathlib.Path(spec.origin).parent
    return [("tensorflow_gan", root), ("tensorflow_gan.python", root / "python")]


@contextlib.contextmanager
def _restored(package):
    """A context that restores the entries of `package` in `sys.modules`, unless its block calls the given function."""

    def entries():
        return {name: module for name, module in sys.modules.items() if f"{name}.".startswith(f"{package}.")}

    before, kept = entries(), []
    try:
        yield lambda: kept.append(True)
    finally:
        if not kept:
            for name in entries():
                del sys.modules[name]
            sys.modules.update(before)


def classifier_score(logits: ArrayLike) -> float:
    """exp E_x KL(p(y|x) ‖ p(y)) of logits [N, classes], in float64. With Inception's logits: the Inception Score.

    Source: Salimans et al. 2016.
    """
    logits = scores.features("logits", logits, 1)
    # TF-GAN takes the logarithm of each class's mean probability; the lower bound keeps that above 0.
    logits = np.maximum(logits - logits.max(axis=1, keepdims=True), -700.0)
    return float(load().classifier_score_from_logits(tf.constant(logits)))


def frechet_distance(real: ArrayLike, fake: ArrayLike) -> float:
    """TF-GAN's Fréchet distance of features [N, d] and [M, d], in float64 (Heusel et al. 2017, eq. 6)."""
    real, fake = scores.features("real", real, 2), scores.features("fake", fake, 2)
    return float(load().frechet_classifier_distance_from_activations(tf.constant(real), tf.constant(fake)))


def kernel_distance(real: ArrayLike, fake: ArrayLike) -> float:
    """TF-GAN's kernel distance of features [N, d] and [M, d], in float64: KID, with k(x, y) = (xᵀy/d + 1)³.

    It is the unbiased estimate over all pairs. Of more than 10,240 features, TF-GAN would average over blocks, and the
    number would depend on their order. `tfjc.evaluators.scores` then computes the estimate over all pairs instead.
    Source: Bińkowski et al. 2018, section 4.
    """
    real, fake = scores.features("real", real, 2), scores.features("fake", fake, 2)
    if max(len(real), len(fake)) > _ONE_BLOCK:
        return scores.kernel_distance(real, fake)
    distance, logger = load().kernel_classifier_distance_from_activations, tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # TensorFlow warns about an argument that TF-GAN passes to map_fn
    try:
        return float(distance(tf.constant(real), tf.constant(fake), max_block_size=_ONE_BLOCK))
    finally:
        logger.setLevel(level)
