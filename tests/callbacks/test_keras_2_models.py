"""Models of Keras 2 (tf_keras) as objects: measured, and watched in their own `fit`."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfjc import callbacks, geometry, models
from tfjc.geometry import _generator

Z = tf.random.stateless_normal([3, 4], [1, 1])
K = tf_keras.layers


class Normalised(tf_keras.Model):
    """A subclassed model that trains by default: batch normalisation with statistics of its own."""

    def __init__(self):
        super().__init__()
        self.dense, self.normalise = K.Dense(12), K.BatchNormalization()

    def call(self, z, training=True):
        return tf.reshape(self.normalise(self.dense(z), training=training), [-1, 2, 2, 3])


def test_a_model_is_measured_in_inference_mode():
    """x = γ(Wᵀz + b − μ)/√(σ² + ε) + β: J = diag(γ/√(σ² + ε)) Wᵀ; measuring moves no statistic."""
    model = Normalised()
    assert geometry.spectrum(model, Z).singular_values.shape == (3, 4)  # builds it
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1.5, np.shape(w)) for w in model.get_weights()])
    weights = model.get_weights()
    kernel, _, gamma, _, _, variance = weights
    expected = (gamma / np.sqrt(variance + 1e-3))[:, None] * kernel.T
    np.testing.assert_allclose(geometry.jacobian(model, Z), [expected] * 3, rtol=1e-5, atol=1e-6)
    q = geometry.quotients(model, Z, Z + 0.1)
    np.testing.assert_allclose(q, np.linalg.norm(expected @ np.full(4, 0.1)) / 0.2, rtol=1e-3)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("labels_first", [False, True])
def test_latents_and_labels_are_told_apart(labels_first):
    """x = z·e(label): J is the diagonal of the label's embedding."""
    z, label, embedding = tf_keras.Input((4,), name="z"), tf_keras.Input((1,), dtype="int32"), K.Embedding(3, 4)
    model = tf_keras.Model([label, z] if labels_first else [z, label], z * K.Flatten()(embedding(label)))
    found = geometry.jacobian(model, Z, labels=tf.constant([2, 0, 1]))
    np.testing.assert_allclose(found, [np.diag(row) for row in embedding.get_weights()[0][[2, 0, 1]]], rtol=1e-6)


def test_mistakes_are_named():
    model = tf_keras.Sequential([K.Dense(5, input_shape=(4,))])
    with pytest.raises(ValueError, match=r"takes latents \[B, 4\], found z \[3, 2\]"):
        geometry.spectrum(model, Z[:, :2])
    with pytest.raises(ValueError, match=r"takes latents \[B, 1, 4\], found z \[3, 4\]: pass flat latents"):
        geometry.spectrum(tf_keras.Sequential([K.Dense(5, input_shape=(1, 4))]), Z)
    with pytest.raises(ValueError, match="must be a model of Keras 3, found a Sequential of Keras 2"):
        models.GAN(model, model)


def test_a_functional_model_is_traced_once_until_a_layer_changes():
    """x = leaky(z) at z = −1 has the slope of the layer; an operation's constant is part of the graph."""
    slope = K.LeakyReLU(0.25)
    z = tf_keras.Input((2,))
    model = tf_keras.Model(z, 3.0 * slope(z))
    traces = []
    for alpha in (0.25, 0.25, 0.5):
        slope.alpha = np.float32(alpha)
        j = geometry.jacobian(model, -tf.ones([1, 2]))
        np.testing.assert_allclose(j, [3.0 * alpha * np.eye(2)], rtol=1e-6)
        traces.append(_generator.kept(model))
    assert traces[0] is traces[1] is not traces[2]


class Mean:
    """An evaluator: the mean of the samples."""

    def prepare(self):
        """Needs nothing."""

    def about(self):
        return {}

    def __call__(self, generate, fast=False):
        return {"mean": float(np.mean(geometry.run(generate, Z)))}


def test_callbacks_watch_a_fit_of_keras_2(tmp_path):
    generator = tf_keras.Sequential([K.Dense(12, input_shape=(4,)), K.Reshape((2, 2, 3))])
    model = tf_keras.Sequential([generator, K.Flatten(), K.Dense(1)])
    model.compile("sgd", "mse")
    watch = callbacks.Conditioning(generator, Z, every=2)
    scores, samples = callbacks.Scores(generator, Mean(), 2), callbacks.Samples(generator, Z, tmp_path / "samples", 2)
    before = geometry.spectrum(generator, Z).mean_log_condition
    x, y = np.ones((12, 4), "float32"), np.zeros((12, 1), "float32")
    done = model.fit(x, y, 4, 1, 0, callbacks=[watch, scores, samples], validation_data=(x, y))
    model.predict(x, verbose=0, callbacks=[watch])
    after = geometry.spectrum(generator, Z).mean_log_condition
    for history in (watch.history, scores.history):
        assert [entry["step"] for entry in history] == [0, 2, 3]
    assert [watch.history[i]["mean_log_condition"] for i in (0, -1)] == pytest.approx([before, after], rel=1e-6)
    assert done.history["mean_log_condition"] == [watch.history[-2]["mean_log_condition"]]
    assert len(list((tmp_path / "samples").iterdir())) == 3
