"""A small convolutional classifier of a labelled dataset, trained once on a machine, that scores are taken with."""

import concurrent.futures
import contextlib
import json
import logging
import os
import warnings

import keras
import numpy as np
import tensorflow as tf

from tfjc.evaluators import _cache, _samples
from tfjc.support import checks, noise
from tfjc.support.files import write_text
from tfjc.support.images import to_images
from tfjc.support.xla import use_xla

FEATURES = 128
_RECIPE = 1  # of `_network` and `_fit`: another number makes cached classifiers old
_BATCH, _LEAST_STEPS, _EPOCHS, _SHIFT = 128, 800, 4, 2


class Classifier:
    """Images [B, ...] in [−1, 1] → (logits [B, classes], features [B, 128]) of its penultimate layer.

    Attributes:
      name: of the dataset it was trained on.
      classes: how many there are.
      accuracy: on the test part, which it was not trained on.
      digest: SHA-256 of its weights, 16 digits.
    """

    layer, resizing = "penultimate", "none"

    def __init__(self, model, name, accuracy):
        self.name, self.accuracy, self.digest = name, accuracy, _digest(model)
        self.classes = model.outputs[0].shape[-1]

        def infer(images):
            return model(images, training=False)

        self._run = tf.function(lambda images: _samples.shared(infer)(images), reduce_retracing=True)

    def __call__(self, images):
        """(logits, features) as arrays, in inference mode."""
        return tuple(output.numpy() for output in self._run(tf.convert_to_tensor(images, tf.float32)))

    def about(self):
        """What tells this classifier from others."""
        return {"classifier": self.name, "accuracy": self.accuracy, "sha256": self.digest}


def classifier(data, *, seed=0):
    """The `Classifier` of a labelled dataset: from this machine's cache, or trained now and kept there.

    It is kept under the dataset's name and a digest of its training part, the seed and how it is trained; its accuracy
    and the digest of its weights stand beside it. What does not fit its digest is trained anew. Of several processes
    one trains, and the others wait for it.

    Args:
      data: `datasets.Dataset` whose `labelled` gives a training and a test part.
      seed: of the weights, the order of the images and what else is drawn.

    Raises:
      ValueError: the dataset has no labels, or none that a classifier could learn.
    """
    seed = checks.seed("seed", seed)
    train, test = data.labelled()
    classes = _check(train, test)
    key = _cache.digest(_RECIPE, keras.__version__, seed, train.images, train.labels)
    path = _cache.path("classifiers", f"{data.name}-{key}.keras")
    found = _outside_strategies(_obtain, path, data.name, train, test, classes, seed)
    if found.accuracy < 2.0 / classes:
        warnings.warn(
            f"the classifier of {data.name} is right on {found.accuracy:.1%}: hardly by more than chance", stacklevel=2
        )
    return found


def _obtain(path, name, *arguments):
    """The classifier at `path`, made if need be; whoever waited finds what another process has made."""
    found = _read(path, name)
    if found is None:
        with _cache.locked(path):
            found = _read(path, name) or _make(path, *arguments)
    return found


def _outside_strategies(function, *arguments):
    """What `function` returns when called in a thread of its own, which is in no strategy's scope.

    A classifier is one process's affair: replicas would train another one, and workers would wait for each other.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *arguments).result()


def _digest(model):
    return _cache.digest(*(weight.numpy() for weight in model.weights))


def _check(train, test):
    found = np.unique(np.concatenate([train.labels, test.labels]))
    if len(found) < 2 or found[0] != 0 or found[-1] != len(found) - 1 or len(np.unique(train.labels)) < len(found):
        listed = f"{', '.join(map(str, found[:5]))}{', ...' if len(found) > 5 else ''}"
        rule = "labels 0, 1, ... of two classes or more, each of them in four fifths of the images"
        raise ValueError(f"dataset {train.name!r} needs {rule}, found {listed}")
    if len(train.image_shape) != 3:
        raise ValueError(f"a classifier takes images [height, width, colours], found {list(train.image_shape)}")
    return len(found)


def _read(path, name):
    """The classifier at `path`; None where there is none, or not the one that was written there."""
    about = path.with_suffix(".json")
    if not (path.exists() and about.exists()):
        return None
    try:
        written = json.loads(about.read_text(encoding="utf-8"))
        found = Classifier(keras.models.load_model(path, compile=False), name, written["accuracy"])
        if found.digest == written["sha256"]:
            return found
        reason = f"its weights are {found.digest}, written were {written['sha256']}"
    except Exception as error:  # a damaged file can raise anything
        reason = str(error)
    logging.getLogger("tfjc").warning("%s is damaged (%s): the classifier of %s is trained anew", path, reason, name)
    return None


def _make(path, train, test, classes, seed):
    log = logging.getLogger("tfjc").warning  # which is seen without any set-up: it takes a minute or more
    log("training a classifier of %s on %d images, once; kept in %s", train.name, len(train.images), path.parent)
    with _float32():
        model = _network(train.image_shape, classes, seed)
        _fit(model, train, seed)
    found = Classifier(model, train.name, _accuracy(model, test))
    _write(path, model, {**found.about(), "classes": classes, "seed": seed, "keras": keras.__version__})
    log("the classifier of %s is right on %.2f %% of %d images", train.name, 100 * found.accuracy, len(test.images))
    return found


@contextlib.contextmanager
def _float32():
    """Whatever policy the user's networks have, a classifier is the same."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _write(path, model, about):
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.keras")  # Keras asks for the ending
    model.save(temporary)
    os.replace(temporary, path)
    write_text(path.with_suffix(".json"), json.dumps(about, indent=2) + "\n")


def _network(image_shape, classes, seed):
    """3×3 convolutions with batch normalisation, of 32, 64, 128 channels while the size is 8 or more; 128 features."""
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
    """Adam, 2e-3 falling to 0 as a cosine, cross-entropy, batches of 128, for four epochs or at least 800 steps."""
    steps = max(_LEAST_STEPS, _EPOCHS * len(train.images) // _BATCH)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps))
    logits_only = keras.Model(model.input, model.outputs[0])
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logits_only.compile(optimizer, cross_entropy, jit_compile=use_xla())
    logits_only.fit(_Batches(train, steps, seed), epochs=1, verbose=0, shuffle=False)


class _Batches(keras.utils.PyDataset):
    """Batches in an order, and shifted by up to 2 pixels, that the seed gives."""

    def __init__(self, data, steps, seed):
        super().__init__()
        self._data, self._steps, self._seed = data, steps, seed

    def __len__(self):
        return self._steps

    def __getitem__(self, step):
        rng = noise.rng(self._seed, noise.Stream.CLASSIFIER_BATCHES, step)
        chosen = rng.integers(len(self._data.images), size=_BATCH)
        height, width = self._data.image_shape[:2]
        images = to_images(self._data.images[chosen]).numpy()
        images = np.pad(images, [(0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)], mode="edge")
        down, right = rng.integers(2 * _SHIFT + 1, size=2)
        return images[:, down : down + height, right : right + width], self._data.labels[chosen]


def _accuracy(model, test):
    right = 0
    for start in range(0, len(test.images), 500):
        logits, _ = model(to_images(test.images[start : start + 500]), training=False)
        right += np.count_nonzero(np.argmax(logits, axis=1) == test.labels[start : start + 500])
    return float(right / len(test.images))
