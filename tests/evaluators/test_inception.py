"""The whole path of Inception scores, with an untrained network of the module's signature."""

import hashlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import callbacks, datasets, evaluators
from tfjc.evaluators import tfgan
from tfjc.support import noise

RANDOM = np.random.default_rng(0)
REAL = datasets.Dataset("mine", RANDOM.integers(0, 256, size=(12, 20, 20, 3)).astype(np.uint8))
Z = tf.random.stateless_normal([10, 3], [0, 0])


def generate(z):
    return tf.tanh(tf.tile(z[:, None, None, :], [1, 20, 20, 1]) + tf.linspace(-1.0, 1.0, 20)[:, None, None])


def save(model, path, **options):
    module = tf.Module()
    module.model = model
    spec = tf.TensorSpec([None, 299, 299, 3], tf.float32)
    module.__call__ = tf.function(lambda images: model(images, training=False), input_signature=[spec])
    tf.saved_model.save(module, str(path), **options)
    return path


@pytest.fixture(scope="session")
def network():
    """64 features of the means of patches, and 10 logits."""
    keras.utils.set_random_seed(0)
    images = keras.Input([299, 299, 3])
    patches = keras.layers.Flatten()(keras.layers.AveragePooling2D(23)(images))
    features = keras.layers.Dense(64, "relu")(patches)
    return keras.Model(images, {"logits": keras.layers.Dense(10)(features), "pool_3": features})


@pytest.fixture(scope="session")
def module(network, tmp_path_factory):
    return save(network, tmp_path_factory.mktemp("hub") / "inception")


def small_module(path, outputs=("logits", "pool_3"), callable_=True):
    """A module of the same signature that a laptop runs at once: means of patches of the image."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)])
    def call(images):
        means = tf.reshape(tf.nn.avg_pool2d(images, 99, 99, "VALID"), [-1, 1, 1, 27])
        return {
            name: value
            for name, value in {"logits": 3.0 * means[:, 0, 0, :9], "pool_3": means}.items()
            if name in outputs
        }

    if callable_:
        module.__call__ = call
        tf.saved_model.save(module, str(path))
    else:
        module.run = call
        tf.saved_model.save(module, str(path), signatures={"serving_default": call})
    return path


def test_the_scores_are_those_of_the_modules_outputs(network, module):
    """By hand: bilinear resizing to 299, logits to the score, pooled features to the distances."""
    with pytest.warns(UserWarning, match=r"10 samples \(10 generated, 10 real\) for 64 features"):
        found = evaluators.InceptionEvaluator(Z, REAL, inception=module, batch_size=4)(generate)

    def features(images):
        return network(tf.image.resize(images, [299, 299], method="bilinear"), training=False)

    chosen = np.sort(noise.rng(0, noise.Stream.REAL_IMAGES).permutation(12)[:10])
    real, fake = features(REAL.images[chosen] / np.float32(127.5) - 1.0), features(generate(Z))
    score = tfgan.classifier_score(fake["logits"])
    assert found["inception_score/inception/10"] == pytest.approx(score, rel=1e-5)
    assert found["fid/inception/10"] == pytest.approx(tfgan.frechet_distance(real["pool_3"], fake["pool_3"]), rel=1e-3)
    kernel = tfgan.kernel_distance(real["pool_3"], fake["pool_3"])
    assert found["kid/inception/10"] == pytest.approx(kernel, rel=1e-3)
    assert {"precision/inception/10", "recall/inception/10", "density/inception/10", "coverage/inception/10"} < set(
        found
    )


def test_a_local_directory_and_tf_hubs_cache(tmp_path, monkeypatch):
    path = small_module(tmp_path / "module")
    expected = evaluators.InceptionEvaluator(Z, REAL, inception=str(path))(generate)
    hub = tmp_path / "hub"
    shutil.copytree(path, hub / hashlib.sha1(tfgan.INCEPTION.encode()).hexdigest())
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(hub))
    by_handle = evaluators.InceptionEvaluator(Z, REAL)
    assert by_handle(generate) == expected
    assert by_handle.about()["inception"] == tfgan.INCEPTION


def test_a_module_with_signatures_alone(tmp_path):
    by_call = evaluators.Inception(small_module(tmp_path / "a"))
    by_signature = evaluators.Inception(small_module(tmp_path / "b", callable_=False))
    for first, second in zip(by_call(generate(Z)), by_signature(generate(Z)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_grey_images_become_three_equal_colours(tmp_path):
    inception = evaluators.Inception(small_module(tmp_path / "a"))
    grey = generate(Z)[..., :1]
    for first, second in zip(inception(grey), inception(tf.tile(grey, [1, 1, 1, 3])), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)
    with pytest.raises(ValueError, match="Inception takes images of 1 or 3 channels, found 4"):
        inception(tf.zeros([2, 5, 5, 4]))


def test_real_features_are_computed_once(tmp_path, monkeypatch):
    monkeypatch.setenv("TFJC_CACHE_DIR", str(tmp_path / "cache"))
    seen = []

    def prepare(data, samples=10):
        path = tmp_path / "module"
        evaluator = evaluators.InceptionEvaluator(Z[:samples], data, inception=path, batch_size=4)
        seen.clear()
        evaluator.prepare(seen.append)
        return sum(seen)

    small_module(tmp_path / "module")
    assert prepare(REAL) == 10
    assert prepare(REAL) == 0
    assert prepare(REAL, samples=7) == 7
    assert prepare(datasets.Dataset("mine", 255 - REAL.images)) == 10
    shutil.rmtree(tmp_path / "module")
    small_module(tmp_path / "module", callable_=False)  # another module at the same place
    assert prepare(REAL) == 10


def test_without_network_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    handle = "https://module.invalid/inception/1"
    with pytest.raises(evaluators.Unavailable) as caught:
        evaluators.InceptionEvaluator(Z, REAL, inception=handle).prepare()
    for part in (handle, f"hub.resolve('{handle}')", "--inception=DIR", hashlib.sha1(handle.encode()).hexdigest()):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path / "nothing", "must be a TF-Hub handle, or the directory of a module, found '.*nothing'"),
        (lambda path: path, "is no SavedModel directory: expected TF-Hub's module"),
        (lambda path: small_module(path / "m", outputs=("logits",)), "must return logits and pool_3, .* found logits"),
    ],
)
def test_what_is_no_module(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        evaluators.InceptionEvaluator(Z, REAL, inception=make(tmp_path)).prepare()


def test_training_goes_on_without_and_says_so_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    generator = keras.Sequential([keras.Input([3]), keras.layers.Dense(1200), keras.layers.Reshape([20, 20, 3])])
    generator.compile("sgd", "mse")
    evaluator = evaluators.InceptionEvaluator(Z, REAL, inception="https://module.invalid/1")
    scores = callbacks.Scores(generator, evaluator, every=1)
    generator.fit(Z, np.zeros([10, 20, 20, 3]), batch_size=5, verbose=0, callbacks=[scores])
    assert scores.history == []
    (record,) = caplog.records
    assert "training goes on without the scores of InceptionEvaluator" in record.getMessage()
