"""A small convolutional classifier of a labelled dataset, for scores. A machine trains it once and caches it."""

import concurrent.futures
import contextlib
import json
import logging
import os
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfjc.datasets import Dataset
from tfjc.evaluators import _cache, _samples
from tfjc.support import checks, interrupts, noise
from tfjc.support.files import write_text
from tfjc.support.images import to_images
from tfjc.support.xla import use_xla

FEATURES = 128
_RECIPE = 1  # version of `_network` and `_fit`; a change invalidates cached classifiers
_BATCH, _LEAST_STEPS, _EPOCHS, _SHIFT = 128, 800, 4, 2


class Classifier:
    """Images [B, ...] in [−1, 1] → (logits [B, classes], features [B, 128]). Features are its penultimate layer.

    Attributes:
      name: name of the dataset that it was trained on.
      classes: number of classes.
      accuracy: share of the test part that it classifies correctly, 0 to 1.
      digest: the first 16 digits of the SHA-256 of its weights.
    """

    layer, resizing = "penultimate", "none"

    def __init__(self, model: keras.Model, name: str, accuracy: float) -> None:
        self.name, self.accuracy, self.digest = name, accuracy, _digest(model)
        self.classes = model.outputs[0].shape[-1]

        def infer(images):
            return model(images, training=False)

        self._run = tf.function(lambda images: _samples.shared(infer)(images), reduce_retracing=True)

    def __call__(self, images: tf.Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(logits, features) as arrays, in inference mode."""
        logits, features = self._run(tf.convert_to_tensor(images, tf.float32))
        return logits.numpy(), features.numpy()

    def about(self) -> dict[str, Any]:
        """What identifies this classifier, for records."""
        return {"classifier": self.name, "accuracy": self.accuracy, "sha256": self.digest}


def classifier(data: Dataset, *, seed: int = 0) -> Classifier:
    """The `Classifier` of a labelled dataset, from this machine's cache or trained now and cached.

    Its file is named by the dataset and a digest of the training part, the seed and the training method. A second file
    holds its accuracy and the digest of its weights. A cached classifier whose weights do not match that digest is
    trained again. Of several processes that need the same classifier, one trains and the others wait.

    Args:
      data: dataset whose `labelled` gives a training and a test part.
      seed: of the weights, the order of the images and their shifts.

    Raises:
      ValueError: the dataset has no labels, or labels that are not 0, 1, ... with two classes or more.
    """
    seed = checks.seed("seed", seed)
    train, test = data.labelled()
    classes = _check(train, test)
    key = _cache.digest(_RECIPE, keras.__version__, seed, train.images, train.labels)
    path = _cache.path("classifiers", f"{data.name}-{key}.keras")
    found = _outside_strategies(_obtain, path, data.name, train, test, classes, seed)
    if found.accuracy < 2.0 / classes:
        warnings.warn(
            f"the classifier of {data.name} is right on {found.accuracy:.1%} of test images, close to chance",
            stacklevel=2,
        )
    return found


def _obtain(path, name, *arguments):
    """The classifier at `path`, trained if missing. A process that waited for the lock finds another one's result."""
    found = _read(path, name)
    if found is None:
        with _cache.locked(path):
            found = _read(path, name) or _make(path, *arguments)
    return found


def _outside_strategies(function, *arguments):
    """Calls `function` in a new thread, outside the scope of any distribution strategy.

    Replicas would otherwise change the training, and workers would wait for each other.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *arguments).result()


def _digest(model):
    return _cache.digest(*(weight.numpy() for weight in model.weights))


def _check(train, test):
    found = np.unique(np.concatenate([train.labels, test.labels]))
    if len(found) < 2 or found[0] != 0 or found[-1] != len(found) - 1 or len(np.unique(train.labels)) < len(found):
        listed = f"{', '.join(map(str, found[:5]))}{', ...' if len(found) > 5 else ''}"
        rule = "labels 0, 1, ... of two classes or more, with each class in the training part"
        raise ValueError(f"dataset {train.name!r} needs {rule}, found {listed}")
    if len(train.image_shape) != 3:
        raise ValueError(f"a classifier takes images [height, width, channels], found {list(train.image_shape)}")
    return len(found)


def _read(path, name):
    """The classifier at `path`; None where the file is missing or damaged."""
    about = path.with_suffix(".json")
    if not (path.exists() and about.exists()):
        return None
    try:
        written = json.loads(about.read_text(encoding="utf-8"))
        found = Classifier(keras.models.load_model(path, compile=False), name, written["accuracy"])
        if found.digest == written["sha256"]:
            return found
        reason = f"expected weights with SHA-256 {written['sha256']}, found {found.digest}"
    except Exception as error:  # a damaged file can raise anything
        reason = str(error)
    logging.getLogger("tfjc").warning("%s is damaged (%s): the classifier of %s is trained again", path, reason, name)
    return None


def _make(path, train, test, classes, seed):
    log = logging.getLogger("tfjc").warning  # a warning is shown by default, and training takes a minute or more
    log("training a classifier of %s on %d images, once; cached in %s", train.name, len(train.images), path.parent)
    with _float32():
        model = _network(train.image_shape, classes, seed)
        _fit(model, train, seed)
    found = Classifier(model, train.name, _accuracy(model, test))
    _write(path, model, {**found.about(), "classes": classes, "seed": seed, "keras": keras.__version__})
    log("the classifier of %s is right on %.2f %% of %d images", train.name, 100 * found.accuracy, len(test.images))
    return found


@contextlib.contextmanager
def _float32():
    """A context with the float32 policy: a classifier does not depend on the user's policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _write(path, model, about):
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.keras")  # Keras asks for the ending

    def write():
        try:
            model.save(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        write_text(path.with_suffix(".json"), json.dumps(about, indent=2) + "\n")

    _cache.keep(path, write)


def _network(image_shape, classes, seed):
    """Blocks of 3×3 convolution, batch normalisation, ReLU and pooling, then a dense layer of 128 features.

    The blocks have 32, 64 and 128 channels; a block is left out where images are smaller than 8 pixels.
    """
    seeds = noise.integers(seed, noise.Stream.CLASSIFIER_WEIGHTS)

    def initial():
        return keras.initializers.HeNormal(seed=next(seeds))

    x = images = keras.Input(image_shape, name="images")
    for channels in (32, 64, 128):
        if min(x.shape[1:3]) < 8:
            break
        x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, kernel_initializer=initial())(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dense(FEATURES, use_bias=False, kernel_initializer=initial())(keras.layers.Flatten()(x))
    features = keras.layers.ReLU(name="features")(keras.layers.BatchNormalization(momentum=0.9)(x))
    logits = keras.layers.Dense(classes, kernel_initializer=initial(), name="logits")(features)
    return keras.Model(images, [logits, features], name="classifier")


def _fit(model, train, seed):
    """Minimises cross-entropy by Adam over batches of 128, for four epochs and at least 800 steps.

    The learning rate falls from 2e-3 to 0 as a cosine.
    """
    steps = max(_LEAST_STEPS, _EPOCHS * len(train.images) // _BATCH)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps))
    logits_only = keras.Model(model.input, model.outputs[0])
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logits_only.compile(optimizer, cross_entropy, jit_compile=use_xla())
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: interrupts.check())
    logits_only.fit(_Batches(train, steps, seed), epochs=1, verbose=0, shuffle=False, callbacks=[stop])


class _Batches(keras.utils.PyDataset):
    """Batches of images, shifted by up to 2 pixels. The seed decides on the images and the shifts."""

    def __init__(self, data: Dataset, steps: int, seed: int) -> None:
        super().__init__()
        self._data, self._steps, self._seed = data, steps, seed

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = noise.rng(self._seed, noise.Stream.CLASSIFIER_BATCHES, step)
        chosen = rng.integers(len(self._data.images), size=_BATCH)
        height, width = self._data.image_shape[:2]
        images = to_images(self._data.images[chosen]).numpy()
        images = np.pad(images, [(0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)], mode="edge")
        down, right = rng.integers(2 * _SHIFT + 1, size=2)
        return images[:, down : down + height, right : right + width], np.asarray(self._data.labels)[chosen]


def _accuracy(model, test):
    right = 0
    for start in range(0, len(test.images), 500):
        logits, _ = model(to_images(test.images[start : start + 500]), training=False)
        right += np.count_nonzero(np.argmax(logits, axis=1) == test.labels[start : start + 500])
    return float(right / len(test.images))
