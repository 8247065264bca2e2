"""TF-GAN's evaluators, on TensorFlow versions that TF-GAN itself no longer imports on."""

import contextlib
import functools
import importlib
import importlib.util
import pathlib
import sys
import types
import warnings

import tensorflow as tf

from tfjc import scores

INCEPTION = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
_ONE_BLOCK = 10_240  # up to so many features the kernel distance is the whole U-statistic: three matrices of 0.8 GB


@functools.cache
def load():
    """`tensorflow_gan.python.eval`, alone where `import tensorflow_gan` fails (tf.estimator is gone since 2.16).

    It is then loaded under bare parent packages, and `sys.modules` is left as it was: an `import tensorflow_gan`
    elsewhere fails or succeeds as if this had not been. Raises ImportError where tensorflow-gan is not installed.
    """
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
    """`tensorflow_hub`, which TF-GAN imports; raises ImportError with what to do where it cannot be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("tensorflow_hub")
        except ModuleNotFoundError as error:
            if error.name != "pkg_resources":
                raise
            advice = "pip install 'setuptools<82'"
            raise ImportError(f"tensorflow-hub needs pkg_resources, which setuptools 82 has not: {advice}") from error


def _folders():
    spec = importlib.util.find_spec("tensorflow_gan")
    if spec is None:
        raise ImportError("tensorflow-gan is not installed: pip install tensorflow-gan")
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
    return float(load().classifier_score_from_logits(tf.constant(logits)))


def frechet_distance(real, fake):
    """TF-GAN's Fréchet distance of features [N, d] and [M, d], in float64 (Heusel et al. 2017, eq. 6)."""
    real, fake = scores.features("real", real, 2), scores.features("fake", fake, 2)
    return float(load().frechet_classifier_distance_from_activations(tf.constant(real), tf.constant(fake)))


def kernel_distance(real, fake):
    """TF-GAN's kernel distance of features [N, d] and [M, d], in float64: KID, with k(x, y) = (xᵀy/d + 1)³.

    The mean of the unbiased estimate over blocks of up to 10,240 features in their order; up to that many there is one
    block, so that the order does not matter. Source: Bińkowski et al. 2018, section 4.
    """
    real, fake = scores.features("real", real, 2), scores.features("fake", fake, 2)
    distance, logger = load().kernel_classifier_distance_from_activations, tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # TF-GAN passes an argument to map_fn that TensorFlow warns about
    try:
        return float(distance(tf.constant(real), tf.constant(fake), max_block_size=_ONE_BLOCK))
    finally:
        logger.setLevel(level)
