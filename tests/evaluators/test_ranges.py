"""The range of a generator's images: found where it is certain, refused where it is not, and the same scores on any."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import datasets, evaluators
from tfjc.evaluators import _ranges, tfgan
from tfjc.support import bounds

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, size=(90, 4, 4, 1)).astype(np.uint8)
DATA = datasets.Dataset("mine", IMAGES, np.arange(90) % 3)
Z = tf.random.stateless_normal([1200, 5], [0, 0])
WEIGHTS = RANDOM.standard_normal([16, 6]).astype(np.float32)


def network(images):
    features = np.asarray(images).reshape(len(images), 16) @ WEIGHTS
    return features[:, :3], features


def hidden(z):
    return tf.reshape(tf.sin(3.0 * tf.tile(z, [1, 4])[:, :16]) * 8.0, [-1, 4, 4, 1])


def unit(z):
    """Images in [0, 1]."""
    return tf.sigmoid(hidden(z))


def twin(z):
    """The same images in [−1, 1]."""
    return 2.0 * unit(z) - 1.0


def opaque(function):
    """`function` through NumPy, so that no graph tells its range."""
    return lambda z: tf.constant(np.asarray(function(z).numpy()))


def scored(generate, count=60, **options):
    return evaluators.ClassifierEvaluator(Z[:count], DATA, classifier=network, **options)(generate)


def same(found, expected, rel=1e-5):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == (value if isinstance(value, list) else pytest.approx(value, rel=rel, abs=1e-6)), key


@pytest.mark.parametrize(
    "generate, count, options",
    [
        (unit, 60, {}),
        (lambda z: 255.0 * unit(z), 60, {}),
        (lambda z: unit(z) - 0.5, 60, {}),
        (lambda z: tf.cast(unit(z), tf.float64), 60, {}),
        (opaque(unit), 60, {"output_range": (0, 1)}),
        (opaque(unit), 1200, {}),
        (opaque(lambda z: 255.0 * unit(z)), 60, {}),
        (opaque(lambda z: 100.0 + 100.0 * unit(z)), 60, {"output_range": (100, 200)}),
        (opaque(lambda z: unit(z) - 0.5), 60, {"output_range": (-0.5, 0.5)}),
        (opaque(twin), 60, {}),
        (opaque(twin), 60, {"output_range": [-1, 1]}),
    ],
    ids=[
        *("sigmoid", "255 sigmoid", "sigmoid - 0.5", "float64", "given [0, 1]", "[0, 1] by 1,200 samples"),
        *("[0, 255] by values", "given [100, 200]", "given [-0.5, 0.5]", "[-1, 1] by values", "given [-1, 1]"),
    ],
)
def test_the_same_images_have_the_same_scores_in_any_range(generate, count, options):
    """G in [a, b] is scored as 2(G − a)/(b − a) − 1."""
    same(scored(generate, count, **options), scored(twin, count))


def test_integers_are_scored_as_the_images_that_they_round():
    """uint8 of [0, 255] is round(255 G): scored as those values/127.5 − 1."""
    rounded = tf.round(255.0 * unit(Z[:60]))
    found = scored(lambda z: tf.cast(tf.round(255.0 * unit(z)), tf.uint8))
    same(found, evaluators.ClassifierEvaluator(Z[:60], DATA, classifier=network).score(rounded.numpy() / 127.5 - 1.0))


def test_missing_modes_are_those_of_the_twin():
    def counted(generate):
        classify = lambda images: network(images)[0].argmax(axis=1)  # noqa: E731
        return evaluators.MissingModes(Z[:60], DATA, classify=classify, classes=3)(generate)

    assert counted(unit) == counted(twin)
    assert counted(unit)["class_histogram/mine/60"] != [60, 0, 0]


@pytest.mark.parametrize(
    "generate, options, message",
    [
        (opaque(unit), {}, r"found values in \[.*\] in 60 samples, which several ranges hold; name it: output_range="),
        (opaque(lambda z: 0.3 + 0.4 * unit(z)), {}, "which several ranges hold"),
        (opaque(lambda z: 50.0 * unit(z)), {}, "which several ranges hold"),
        (opaque(lambda z: unit(z) - 0.5), {}, "which several ranges hold"),
        (opaque(lambda z: 1.3 * twin(z)), {}, "outside of these; .*--output_range=LOW,HIGH"),
        (opaque(lambda z: 5.0 * unit(z) - 4.0), {}, "outside of these"),
        (unit, {"output_range": (-1, 1)}, r"but the generator's last operations give values in \[0, 1\]"),
        (lambda z: tf.tanh(hidden(z)), {"output_range": (0, 1)}, r"last operations give values in \[-1, 1\]"),
        (opaque(twin), {"output_range": (0, 1)}, "of them are outside: output_range is not the generator's range"),
        (opaque(unit), {"output_range": (0, 255)}, r"expected values over \[0, 255\], found .* range \[0, 1\]"),
        (twin, {"output_range": (1, 0)}, "the lower and then the higher number"),
        (twin, {"output_range": 1}, "must be two numbers"),
        (twin, {"output_range": (0, math.inf)}, "output_range must be a finite number"),
    ],
)
def test_a_range_that_is_not_certain_is_refused(generate, options, message):
    with pytest.raises(ValueError, match=message):
        scored(generate, **options)


def test_1000_samples_in_0_to_1_say_nothing_where_real_images_are_bright():
    bright = datasets.Dataset("bright", np.maximum(IMAGES, 128), DATA.labels)
    with pytest.raises(ValueError, match="which several ranges hold"):
        evaluators.ClassifierEvaluator(Z, bright, classifier=network)(opaque(unit))


def test_a_later_sample_outside_the_range_that_was_found_is_refused():
    """The first 1,000 samples lie in [0, 1], the last 200 do not."""
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], their range by the values of the first ones, found"):
        scored(opaque(lambda z: tf.where(tf.shape(z)[0] == 200, twin(z), unit(z))), 1200, batch_size=1000)


def test_a_bright_tanh_is_known_by_its_last_operation():
    """Samples in [0.5, 1] of tanh stay what they are."""
    images = tf.tanh(tf.abs(hidden(Z[:60])) + 0.6)
    assert images.numpy().min() > 0.5
    found = scored(lambda z: tf.tanh(tf.abs(hidden(z)) + 0.6))
    logits = network(images)[0]
    assert found["classifier_score/given/60"] == tfgan.classifier_score(logits)


def test_values_beyond_a_given_range_are_clipped():
    """A linear output that overshoots by 1 % of its range: scored as its clipped images."""
    tested = evaluators.ClassifierEvaluator(Z[:60], DATA, classifier=network, output_range=(-1, 1))
    found = tested(opaque(lambda z: 1.02 * twin(z)))
    clipped = np.clip(1.02 * twin(Z[:60]).numpy(), -1.0, 1.0)
    same(found, scored(lambda z: tf.constant(clipped)))
    assert tested.found_range.clipped == pytest.approx(np.mean(np.abs(1.02 * twin(Z[:60])) > 1.0))


def test_images_and_datasets_in_0_to_1_are_not_taken_for_others():
    tested = evaluators.ClassifierEvaluator(Z[:60], DATA, classifier=network)
    images = unit(Z).numpy()
    same(tested.score(images), tested.score(2.0 * images - 1.0))  # 1,200 of them say it
    with pytest.raises(ValueError, match="in 60 samples, which several ranges hold"):
        tested.score(images[:60])
    given = evaluators.ClassifierEvaluator(Z[:60], DATA, classifier=network, output_range=(0, 1))
    same(given.score(images[:60]), tested.score(2.0 * images[:60] - 1.0))
    same(given.score(IMAGES), tested.score(IMAGES))  # uint8 is in [0, 255] all the same
    for evaluator in (evaluators.ClassifierEvaluator, evaluators.MissingModes):
        with pytest.raises(ValueError, match=r"uint8, or floats in \[-1, 1\], found floats in \[.*2 \* images - 1"):
            evaluator(Z, datasets.Dataset("unit", images, np.arange(1200) % 3))


def test_points_have_no_range():
    ring = datasets.load("gaussian_ring")
    with pytest.raises(ValueError, match=r"output_range is for images, found data of shape \[2\]"):
        evaluators.MissingModes(Z, ring, output_range=(0, 1)).look(lambda z: z[:, :2])
    assert evaluators.MissingModes(Z, ring).look(lambda z: tf.abs(z[:, :2])) is None


def keras_model(*layers):
    return keras.Sequential([keras.Input([5]), keras.layers.Dense(16), keras.layers.Reshape([4, 4, 1]), *layers])


NOWHERE = (-math.inf, math.inf)


@pytest.mark.parametrize(
    "function, expected",
    [
        (tf.sigmoid, (0, 1)),
        (tf.tanh, (-1, 1)),
        (lambda z: (tf.tanh(z) + 1.0) / 2.0, (0, 1)),
        (lambda z: 127.5 * (tf.tanh(z) + 1.0), (0, 255)),
        (lambda z: 0.25 - 0.5 * tf.sigmoid(z), NOWHERE),  # a number less a tensor is not followed
        (lambda z: tf.clip_by_value(z, 0.0, 1.0), (0, 1)),
        (lambda z: tf.minimum(tf.nn.relu(z), 1.0), (0, 1)),
        (lambda z: tf.cast(tf.transpose(tf.sigmoid(z)), tf.float64), (0, 1)),
        (lambda z: -2.0 * tf.sigmoid(z) + 1.0, (-1, 1)),
        (lambda z: tf.sigmoid(z) * z, NOWHERE),
        (lambda z: z, NOWHERE),
        (opaque(tf.sigmoid), NOWHERE),
        (keras_model(keras.layers.Activation("sigmoid")), (0, 1)),
        (keras_model(keras.layers.Activation("tanh"), keras.layers.Rescaling(0.5, 0.5)), (0, 1)),
        (keras_model(keras.layers.Conv2D(1, 1, activation="sigmoid")), (0, 1)),
        (tf.function(tf.sigmoid, autograph=False), (0, 1)),
        (lambda z: tf.function(lambda u: (u, tf.tanh(u)), autograph=False)(z)[1], (-1, 1)),
    ],
)
def test_what_the_last_operations_say(function, expected):
    assert bounds.of(function, Z[:2]) == pytest.approx(expected)


def test_an_exported_generator_says_its_range_too(tmp_path):
    from tfjc.saving import loading

    model = keras_model(keras.layers.Activation("sigmoid"))
    model.export(tmp_path / "m", verbose=False)
    found = evaluators.tell(loading.load_any(tmp_path / "m").generate, Z[:2], np.full([2, 4, 4, 1], 0.7, np.float32))
    assert (found.low, found.high, found.reason) == (0.0, 1.0, "operations")


def test_scaling():
    found = _ranges.OutputRange(0, 255, "type").scale(np.array([[0, 51, 255]], np.uint8))
    np.testing.assert_allclose(found, [[-1.0, -0.6, 1.0]], rtol=1e-6)
    assert found.dtype == np.float32
