"""Evaluators of samples, with networks whose answers are known."""

import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tfjc import datasets, evaluators
from tfjc.evaluators import scores, tfgan
from tfjc.support import noise

RANDOM = np.random.default_rng(0)
REAL = datasets.Dataset("mine", RANDOM.uniform(-1, 1, size=(90, 4, 4, 1)).astype(np.float32), np.arange(90) % 3)
Z = tf.random.stateless_normal([60, 3], [0, 0])
WEIGHTS = RANDOM.standard_normal([16, 6]).astype(np.float32)


def fails(z):
    return tf.gather(generate(z), len(z) + tf.range(len(z)))


def network(images):
    """Three logits and six features, linear in the image."""
    features = np.asarray(images).reshape(len(images), 16) @ WEIGHTS
    return features[:, :3], features


def generate(z):
    return tf.tanh(tf.reshape(tf.tile(z, [1, 6])[:, :16] * tf.linspace(0.1, 2.0, 16), [-1, 4, 4, 1]))


def evaluator(z=Z, **options):
    return evaluators.ClassifierEvaluator(z, REAL, classifier=network, **options)


def test_the_scores_are_those_of_the_networks_answers():
    """By hand from the same logits and features; 60 real images, as many as samples."""
    found = evaluator()(generate)
    logits, features = network(generate(Z))
    real = network(REAL.images[np.sort(noise.rng(0, noise.Stream.REAL_IMAGES).permutation(90)[:60])])[1]
    assert found["classifier_score/given/60"] == tfgan.classifier_score(logits)
    assert found["frechet_distance/given/features/60"] == pytest.approx(tfgan.frechet_distance(real, features))
    assert found["kernel_distance/given/features/60"] == pytest.approx(tfgan.kernel_distance(real, features))
    for name, value in scores.prdc(real, features).items():
        assert found[f"{name}/given/features/60"] == value
    for name, value in scores.missing_modes(logits.argmax(axis=1), 3).items():
        assert found[f"{name}/given/60"] == value
    assert set(map(type, found.values())) == {float, list}


def assert_same(found, expected, rel=1e-5):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == (value if isinstance(value, list) else pytest.approx(value, rel=rel)), key


@pytest.mark.parametrize("batch_size", [1, 7, 60, 1000])
def test_no_score_depends_on_the_batch_size(batch_size):
    assert_same(evaluator(batch_size=batch_size)(generate), evaluator()(generate))


def test_the_fast_form_gives_the_same_numbers():
    assert_same(evaluator()(generate, fast=True), evaluator()(generate), rel=1e-7)


def test_perfect_and_constant_classifiers():
    """Images that say their class: the score is the number of classes; one answer for all: 1."""
    z = tf.constant(np.arange(60) % 3, tf.float32)[:, None]

    def label(z):
        return tf.reshape(tf.repeat(z / 2.0, 16), [-1, 4, 4, 1])

    def perfect(images):
        classes = np.round(2.0 * np.asarray(images)[:, 0, 0, 0]).astype(int)
        return 1e3 * np.eye(3)[np.clip(classes, 0, 2)], network(images)[1]

    found = evaluators.ClassifierEvaluator(z, REAL, classifier=perfect, output_range=(-1, 1))(label)
    assert found["classifier_score/given/60"] == pytest.approx(3.0, rel=1e-9)
    assert (found["least_sampled_class/given/60"], found["kl_to_uniform/given/60"]) == (20.0, pytest.approx(0.0))
    constant = evaluators.ClassifierEvaluator(
        z, REAL, classifier=lambda x: (np.ones([len(x), 3]), network(x)[1]), output_range=(-1, 1)
    )
    found = constant(label)
    assert found["classifier_score/given/60"] == pytest.approx(1.0, rel=1e-9)
    assert (found["missing_classes/given/60"], found["class_histogram/given/60"]) == (2.0, [60, 0, 0])


def test_the_papers_360_samples_are_the_first():
    z = tf.random.stateless_normal([400, 3], [0, 0])
    found = evaluator(z)(generate)
    first = evaluator(z[:360])(generate)
    assert found["class_histogram/given/360"] == first["class_histogram/given/360"]
    assert sum(found["class_histogram/given/400"]) == 400


def test_images_from_anywhere_are_scored():
    images = generate(Z).numpy()
    assert_same(evaluator().score(images), evaluator()(generate))
    integers = np.round((images + 1.0) * 127.5).astype(np.uint8)
    assert_same(evaluator().score(integers), evaluator().score(integers / np.float32(127.5) - np.float32(1.0)))


def test_a_conditional_generator_gets_its_labels():
    labels = np.arange(60) % 3

    def conditional(z, classes):
        return generate(z) * (tf.cast(classes, tf.float32)[:, None, None, None] + 1.0) / 3.0

    found = evaluator(labels=labels, batch_size=13)(conditional)
    assert_same(found, evaluator().score(conditional(Z, labels).numpy()))


def test_progress_counts_images():
    counted = {"real": 0, "samples": 0}
    tested = evaluator(batch_size=8)
    tested.prepare(lambda n: counted.update(real=counted["real"] + n))
    tested(generate, progress=lambda n: counted.update(samples=counted["samples"] + n))
    assert counted == {"real": 60, "samples": 60}


def test_it_says_what_it_scored_with():
    tested = evaluator()
    tested.prepare()
    about = {"dataset": "mine", "split": "", "image_shape": [4, 4, 1], "real": 60, "classifier": "given"}
    assert tested.about() == about


def test_few_samples_are_warned_about():
    with pytest.warns(UserWarning, match=r"6 samples \(6 generated, 6 real\) for 6 features: .* biased upwards"):
        evaluator(Z[:6])(generate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluator(Z[:7]).prepare()


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: evaluator()(lambda z: generate(z)[:, :3]),
            r"must be \[4, 4, 1\] .* mine are, found \[3, 4, 1\]",
        ),
        (lambda: evaluator()(lambda z: 2.0 * generate(z)), r"found values in \[-1.9\d+, 1.9\d+\] .* outside of these"),
        (lambda: evaluator()(lambda z: generate(z) * np.nan), "images must be finite, found 2 of 2"),
        (lambda: evaluator().score(np.zeros([0, 4, 4, 1])), "N ≥ 1, found"),
        (lambda: evaluator().score(np.zeros([9, 4, 4, 1], int)), "images must be uint8, or floats"),
        (lambda: evaluator(Z[0]), r"z must have shape \[N, n_z\], found \[3\]"),
        (lambda: evaluator(Z[:5]), "at least 6 samples are needed, found 5"),
        (lambda: evaluators.MissingModes(Z[:0], REAL), "at least 1 samples are needed, found 0"),
        (
            lambda: evaluators.ClassifierEvaluator(Z, datasets.Dataset("mine", REAL.images[:5]), classifier=network),
            "at least 6 real images are needed, found 5",
        ),
        (
            lambda: evaluators.ClassifierEvaluator(Z, REAL, classifier=lambda images: images)(generate),
            r"classifier must return \(logits, features\), found a ndarray",
        ),
        (lambda: evaluator()(fails), "the generator fails on these latents or labels: indices"),
        (lambda: evaluator(labels=np.zeros(5)), r"labels must be \[60, ...\], one for each latent"),
        (lambda: evaluator(batch_size=0), "batch_size must be at least 1"),
        (
            lambda: evaluators.ClassifierEvaluator(Z, REAL.images),
            "data must be a dataset, such as tfjc",
        ),
        (lambda: evaluators.ClassifierEvaluator(Z, REAL, classifier=3)(generate), "classifier must be callable"),
        (
            lambda: evaluators.ClassifierEvaluator(Z, datasets.Dataset("mine", REAL.images)),
            "dataset 'mine' has no labels to train a classifier with",
        ),
        (
            lambda: evaluators.ClassifierEvaluator(Z, datasets.load("gaussian_ring")),
            r"a classifier takes images, found data of shape \[2\]",
        ),
        (lambda: evaluators.InceptionEvaluator(Z, datasets.load("gaussian_ring")), "Inception takes images"),
        (lambda: evaluators.MissingModes(Z, datasets.Dataset("mine", REAL.images)), "has no labels"),
        (lambda: evaluators.MissingModes(Z, REAL, classify=len), "classify and classes belong together"),
    ],
)
def test_mistakes_say_what_was_found(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_samples_that_are_not_finite_have_an_error_of_their_own():
    with pytest.raises(evaluators.NotFinite):
        evaluator()(lambda z: generate(z) * np.nan)


def test_real_images_may_be_a_tensor_and_their_labels_a_column():
    data = datasets.Dataset("mine", tf.constant(REAL.images), REAL.labels[:, None])
    found = evaluators.ClassifierEvaluator(Z, data, classifier=network)(generate)
    assert_same(found, evaluator()(generate))
    assert data.labelled()[0].labels.shape == (72,)


def test_modes_of_the_ring():
    """Latents are modes: 0 and 1 hit by 100 samples each, 2 missed by half a radius by the other 100."""
    centres = datasets.ring_centres()
    z = tf.constant(np.repeat([0.0, 1.0, 2.0], 100)[:, None])

    def points(z):
        index = tf.cast(z[:, 0], tf.int32)
        near = tf.gather(tf.constant(centres, tf.float32), index)
        return near + tf.where(index == 2, 0.4, 0.0)[:, None]

    found = evaluators.MissingModes(z, datasets.load("gaussian_ring"))(points)
    assert found["class_histogram/gaussian_ring/300"] == [100, 100, 0, 0, 0, 0, 0, 0]
    assert (found["modes_covered/gaussian_ring/300"], found["missing_classes/gaussian_ring/300"]) == (2.0, 6.0)
    assert found["high_quality/gaussian_ring/300"] == pytest.approx(2 / 3)
    assert found["kl_to_uniform/gaussian_ring/300"] == pytest.approx(np.log(4.0))


def test_the_data_cover_their_own_modes():
    """3σ holds 1 − exp(−9/2) = 98.9 % of a Gaussian in the plane."""
    for name, modes in (("gaussian_ring", 8), ("gaussian_grid", 25)):
        data = datasets.load(name)
        z = tf.range(10_000, dtype=tf.float32)[:, None]
        found = evaluators.MissingModes(z, data)(
            lambda z, data=data: tf.gather(data.images, tf.cast(z[:, 0], tf.int32))
        )
        assert found[f"modes_covered/{name}/10000"] == modes
        assert found[f"high_quality/{name}/10000"] == pytest.approx(1.0 - np.exp(-4.5), abs=0.004)
        assert found[f"kl_to_uniform/{name}/10000"] < 0.002


def test_modes_by_somebodys_own_classes():
    modes = evaluators.MissingModes(Z, REAL, classify=lambda images: network(images)[0].argmax(axis=1), classes=3)
    expected = evaluator()(generate)
    for key, value in modes(generate).items():
        assert value == expected[key.replace("mine", "given")]


def scores_of_mnist(prepared_data):
    """By a classifier trained for 500 steps on four fifths of 7,500 digits of 16 pixels; the recipe takes 1,875."""
    train = datasets.load("mnist", split="train[:7500]", size=16, data_dir=prepared_data)
    test = train.reload(split="test[:2000]")
    z = tf.zeros([2000, 1])
    few = datasets.Dataset("mnist/7500", train.images, train.labels)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys.modules[evaluators.classifier.__module__], "_LEAST_STEPS", 500)
        tested = evaluators.ClassifierEvaluator(z, few)
        tested.prepare()
    half = train.images[train.labels < 5][:2000]
    one = np.repeat(train.images[train.labels == 3][:1], 2000, axis=0)
    grey = np.random.default_rng(0).integers(0, 256, size=(2000, 16, 16, 1)).astype(np.uint8)
    sets = {"held out": test.images, "half the classes": half, "one digit": one, "noise": grey}
    return tested, {name: tested.score(images, fast=True) for name, images in sets.items()}


def test_real_mnist_is_ordered_as_a_person_would(prepared_data):
    """Held-out digits score best, then half of the classes; one digit repeated and noise have no variety."""
    tested, found = scores_of_mnist(prepared_data)
    assert tested.about()["accuracy"] >= 0.97  # 98.2 % was measured

    def column(name):
        return {what: next(v for k, v in rows.items() if k.startswith(f"{name}/")) for what, rows in found.items()}

    score, distance, modes = column("classifier_score"), column("frechet_distance"), column("missing_classes")
    assert 8.0 < score["held out"] <= 10.0  # 8.5 was measured; 10 is a classifier that is sure of every digit
    assert 4.7 < score["half the classes"] <= 5.1
    assert score["one digit"] == pytest.approx(1.0)
    assert score["noise"] < 2.0
    assert distance["held out"] < 0.2 * distance["half the classes"]
    assert distance["half the classes"] < 0.5 * min(distance["one digit"], distance["noise"])
    assert (modes["held out"], modes["one digit"]) == (0.0, 9.0)
    assert column("kl_to_uniform")["half the classes"] == pytest.approx(np.log(2.0), abs=0.05)
    precision, recall = column("precision"), column("recall")
    assert precision["held out"] > 0.6 and precision["half the classes"] > 0.6 and recall["held out"] > 0.6
    assert max(recall["one digit"], recall["noise"], precision["noise"]) < 0.05
    assert column("coverage")["half the classes"] < 0.7 * column("coverage")["held out"]
