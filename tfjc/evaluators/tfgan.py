"""TF-GAN's evaluators, on TensorFlow versions that TF-GAN itself no longer imports on."""

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

from tfjc.evaluators import scores
from tfjc.evaluators._samples import Unavailable

INCEPTION = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
_ONE_BLOCK = 10_240  # features up to which TF-GAN takes the kernel distance whole; it holds 4.1 GB for 10,000
_lock = threading.RLock()


def load():
    """`tensorflow_gan.python.eval`, alone where `import tensorflow_gan` fails (tf.estimator is gone since 2.16).

    It is then loaded under bare parent packages, and `sys.modules` is left as it was: an `import tensorflow_gan`
    elsewhere fails or succeeds as if this had not been. Raises Unavailable where tensorflow-gan is not installed.
    """
    with _lock:  # `sys.modules` is changed for a while
        return _load()


@functools.cache
def _load():
    hub()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TF-GAN uses much that is deprecated
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
def hub():
    """`tensorflow_hub`, which TF-GAN imports; raises Unavailable with what to do where it cannot be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("tensorflow_hub")
        except ModuleNotFoundError as error:
            package = {"pkg_resources": "'setuptools<82'"}.get(error.name, error.name)
            raise Unavailable(f"tensorflow-hub needs {error.name}: pip install {package}") from error


def _folders():
    spec = importlib.util.find_spec("tensorflow_gan")
    if spec is None:
        raise Unavailable("tensorflow-gan is not installed: pip install tensorflow-gan")
    root = pathlib.Path(spec.origin).parent
    return [("tensorflow_gan", root), ("tensorflow_gan.python", root / "python")]


@contextlib.contextmanager
def _restored(package):
    """Puts the entries of `package` in `sys.modules` back as they were, unless the block calls what it is given."""

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


def classifier_score(logits):
    """exp E_x KL(p(y|x) ‖ p(y)) of logits [N, classes], in float64 (Salimans et al. 2016); Inception's is the IS."""
    logits = scores.features("logits", logits, 1)
    # TF-GAN takes the logarithm of a class's mean probability, which must not be 0 where no sample has any.
    logits = np.maximum(logits - logits.max(axis=1, keepdims=True), -700.0)
    return float(load().classifier_score_from_logits(tf.constant(logits)))


def frechet_distance(real, fake):
    """TF-GAN's Fréchet distance of features [N, d] and [M, d], in float64 (Heusel et al. 2017, eq. 6)."""
    real, fake = scores.features("real", real, 2), scores.features("fake", fake, 2)
    return float(load().frechet_classifier_distance_from_activations(tf.constant(real), tf.constant(fake)))


def kernel_distance(real, fake):
    """TF-GAN's kernel distance of features [N, d] and [M, d], in float64: KID, with k(x, y) = (xᵀy/d + 1)³.

    The unbiased estimate over all pairs. TF-GAN would take the mean over blocks of more than 10,240 features, in which
    the order matters: those are left to `tfjc.evaluators.scores`, which is the same number otherwise.
    Source: Bińkowski et al. 2018, section 4.
    """
    real, fake = scores.features("real", real, 2), scores.features("fake", fake, 2)
    if max(len(real), len(fake)) > _ONE_BLOCK:
        return scores.kernel_distance(real, fake)
    distance, logger = load().kernel_classifier_distance_from_activations, tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # TF-GAN passes an argument to map_fn that TensorFlow warns about
    try:
        return float(distance(tf.constant(real), tf.constant(fake), max_block_size=_ONE_BLOCK))
    finally:
        logger.setLevel(level)
