"""Model files that Keras 2 wrote, read by tf_keras."""

import json
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfjc import geometry
from tfjc.saving import loading

K = tf_keras.layers
Z = tf.random.stateless_normal([3, 4], [1, 1])


def dcgan():
    """A DCGAN's layers, with moving statistics that are not those of a new network, within a model."""
    stack = tf_keras.Sequential(
        [
            K.Dense(2 * 2 * 6, use_bias=False, input_shape=(4,)),
            K.BatchNormalization(momentum=0.8),
            K.LeakyReLU(alpha=0.3),
            K.Reshape((2, 2, 6)),
            K.Conv2DTranspose(4, 3, strides=2, padding="same", kernel_initializer="he_normal"),
            K.Dropout(0.5),
            K.UpSampling2D(),
            K.Conv2D(1, 3, padding="same", activation="tanh", kernel_regularizer=tf_keras.regularizers.L2(0.1)),
        ]
    )
    _, batch_norm, *_ = stack.layers
    random = np.random.default_rng(0)
    batch_norm.set_weights([random.uniform(0.5, 1.5, 24) for _ in range(4)])
    z = tf_keras.Input((4,), name="z")
    return tf_keras.Model(z, stack(z))


def conditional():
    """Labels by an embedding, multiplied with z in one branch and concatenated in another."""
    z, label = tf_keras.Input((4,)), tf_keras.Input((1,), dtype="int32")
    code = K.Flatten()(K.Embedding(3, 4)(label))
    plane = K.Reshape((2, 2, 1))(K.Dense(4)(code))
    joined = K.Concatenate()([K.Reshape((2, 2, 2))(K.Dense(8, activation="relu")(K.multiply([z, code]))), plane])
    return tf_keras.Model([z, label], K.Conv2DTranspose(2, 4, strides=2, padding="same")(joined))


def operations():
    """TensorFlow's functions as layers."""
    z = tf_keras.Input((4,))
    x = tf.reshape(tf.nn.leaky_relu(K.Dense(8)(z) * 2.0 + 1.0)[:, ::-1], [-1, 2, 2, 2])
    x = tf.concat([tf.image.resize(x, [4, 4], method="nearest"), tf.zeros_like(K.UpSampling2D()(x))], axis=-1)
    return tf_keras.Model(z, tf.math.sin(x) / tf.cast(4.0, "float32"))


@pytest.mark.parametrize("kind", ["h5", "keras"])
@pytest.mark.parametrize("make", [dcgan, conditional, operations])
def test_a_file_is_its_model(tmp_path, make, kind):
    """Images are those of inference mode, and Jᵀu is TensorFlow's own gradient of the model along u."""
    model = make()
    model.save(tmp_path / f"g.{kind}")
    found = loading.load_any(tmp_path / f"g.{kind}")
    labels = loading.draw_labels(found, 3, classes=3) if make is conditional else None
    assert (found.latent_shape, found.labels is None) == ((4,), labels is None)
    with tf.GradientTape() as tape:
        tape.watch(Z)
        x = tf.reshape(model(Z if labels is None else [Z, labels], training=False), [3, -1])
    u = tf.random.stateless_normal(x.shape, [2, 2])
    images = geometry.run(found.generate, Z, labels)
    np.testing.assert_allclose(tf.reshape(images, [3, -1]), x, rtol=1e-6, atol=1e-7)
    if kind == "keras":
        return
    with warnings.catch_warnings(action="error", category=RuntimeWarning):  # no slower method
        j = geometry.jacobian(found.generate, Z, labels=labels)
    pulled = tf.linalg.matvec(j, u, transpose_a=True)
    np.testing.assert_allclose(pulled, tape.gradient(x, Z, output_gradients=u), rtol=1e-4, atol=1e-6)


def _dense():
    return tf_keras.Sequential([K.Dense(5, input_shape=(4,)), K.LeakyReLU()])


def rewritten(path, version, change):
    """An HDF5 file of a model, as another version of Keras 2 wrote it."""
    model = _dense()
    model.save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"])))
        file.attrs["keras_version"] = version
    return model


def _list_of_layers(config):  # Keras 2.0.6
    return {"class_name": "Sequential", "config": config["config"]["layers"][1:]}


@pytest.mark.parametrize("version", [b"2.0.6", "2.2.4-tf"])
def test_files_of_early_versions(tmp_path, version):
    model = rewritten(tmp_path / "g.h5", version, _list_of_layers)
    found = loading.load_any(tmp_path / "g.h5")
    np.testing.assert_allclose(found.generate(Z), model(Z), rtol=1e-6)


@pytest.mark.parametrize("name", ["g.keras", "g.hdf5"])
def test_other_names_of_hdf5_files(tmp_path, name):
    """Keras wrote HDF5 under `.keras` too, before version 2.12."""
    model = rewritten(tmp_path / "g.h5", "2.6.0", lambda config: config)
    (tmp_path / "g.h5").rename(tmp_path / name)
    np.testing.assert_allclose(loading.load_any(tmp_path / name).generate(Z), model(Z), rtol=1e-6)


def test_names_of_the_package_before_it_was_called_tf_keras(tmp_path):
    model = operations()
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"tf_keras.src", b"keras.src"))
    np.testing.assert_allclose(loading.load_any(tmp_path / "old.keras").generate(Z), model(Z), rtol=1e-6)


def test_a_file_of_keras_1_says_what_is_wrong(tmp_path):
    def renamed(config):
        config["config"]["layers"][1]["config"]["output_dim"] = 5
        return config

    rewritten(tmp_path / "g.h5", "1.2.2", renamed)
    with pytest.raises(ValueError, match=r"g\.h5 cannot be loaded: .*\boutput_dim\b") as caught:
        loading.load_any(tmp_path / "g.h5")
    assert "\n" not in str(caught.value)


def test_latents_of_several_axes_are_flattened(tmp_path):
    model = tf_keras.Sequential([K.Conv2DTranspose(2, 2, input_shape=(1, 2, 2)), K.ReLU()])
    model.save(tmp_path / "g.h5")
    found = loading.load_any(tmp_path / "g.h5")
    assert (found.latent_shape, found.n_z) == ((1, 2, 2), 4)
    np.testing.assert_allclose(found.generate(Z), model(tf.reshape(Z, [3, 1, 2, 2])), rtol=1e-6)


def test_code_is_refused_unless_the_file_is_trusted(tmp_path):
    model = tf_keras.Sequential([K.Dense(4, input_shape=(4,)), K.Lambda(lambda x: 2.0 * x)])
    for kind in ("h5", "keras"):
        model.save(tmp_path / f"g.{kind}")
        with pytest.raises(ValueError, match=r"holds Python code in a Lambda layer.*--trust"):
            loading.load_any(tmp_path / f"g.{kind}")
        np.testing.assert_allclose(
            loading.load_any(tmp_path / f"g.{kind}", trust=True).generate(Z), model(Z), rtol=1e-6
        )


def test_weights_alone_are_told_from_a_model(tmp_path):
    for name in ("g.h5", "g.weights.h5"):
        _dense().save_weights(tmp_path / name)
        with pytest.raises(ValueError, match=r"holds weights alone, no network.*model\.load_weights"):
            loading.load_any(tmp_path / name)


def test_a_file_is_computed_in_float64(tmp_path):
    """σ = 3, 1, 1e-6 of a diagonal map: float32's J holds the least to 1e-7 · σ_max at best, float64 exactly."""
    dense = K.Dense(3, use_bias=False, input_shape=(3,), activation="tanh")
    model = tf_keras.Sequential([dense])
    dense.set_weights([np.diag([3.0, 1.0, 1e-6])])
    model.save(tmp_path / "g.keras")
    wide = loading.in_float64(loading.load_any(tmp_path / "g.keras"))
    values = geometry.spectrum(wide, tf.zeros([2, 3], tf.float64)).singular_values
    np.testing.assert_allclose(values, [np.float32([3.0, 1.0, 1e-6])] * 2, rtol=1e-12)
    assert (tf_keras.backend.floatx(), tf_keras.mixed_precision.global_policy().name) == ("float32", "float32")
