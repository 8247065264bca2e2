"""Class-conditional GANs: labels, the auxiliary classifier; WGAN-GP's dequantisation and batch; averaged weights."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import architectures, datasets, layers, losses, models
from tfjc.penalties import JacobianClamping
from tfjc.support.images import dequantised, to_images

IMAGES = np.random.default_rng(0).integers(0, 256, size=(48, 16, 16, 1)).astype(np.uint8)
LABELS = np.arange(48) % 3
NOTHING = losses.Loss(*[lambda logits: 0.0 * logits] * 3)


def networks(num_classes=3):
    """A dense generator with batch normalisation, and a dense critic."""
    keras.utils.set_random_seed(0)
    z, labels, images = keras.Input([4]), keras.Input([], dtype="int32"), keras.Input([16, 16, 1])
    hidden = keras.layers.Concatenate()([z, keras.layers.Embedding(num_classes, 8)(labels)])
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(32, "relu")(hidden))
    generator = keras.Model([z, labels], keras.layers.Reshape([16, 16, 1])(keras.layers.Dense(256, "tanh")(hidden)))
    hidden = keras.layers.Dense(32, "relu")(keras.layers.Flatten()(images))
    return generator, keras.Model(images, [keras.layers.Dense(1)(hidden), keras.layers.Dense(num_classes)(hidden)])


def gan(**options):
    return models.GAN(*networks(), num_classes=3, **options)


def dataset(labels=LABELS, images=IMAGES):
    return datasets.Dataset("mine", images, labels)


def test_the_published_network_has_the_published_number_of_weights():
    """By layer, for the generator: 264,192 of the dense layer, 3 blocks of 316,800, 256 and 3,459."""
    networks = architectures.wgangp_resnet((32, 32, 3))
    counts = [sum(int(np.prod(v.shape)) for v in n.trainable_variables) for n in networks[:2]]
    assert counts == [264_192 + 3 * 316_800 + 256 + 3_459, 1_055_115]
    assert counts[0] == 1_218_307


def test_initial_weights_have_the_published_spread():
    """Uniform: variance 4/(fan_in + fan_out) in residual branches (147,456 weights each), half of that on shortcuts."""
    critic = architectures.wgangp_resnet((32, 32, 3)).critic
    kernels = [v.numpy() for v in critic.trainable_variables if v.shape[-2:] == (128, 128)]
    for kernel in kernels:
        fans = kernel.shape[0] * kernel.shape[1] * (128 + 128)
        expected = (4.0 if kernel.shape[0] == 3 else 2.0) / fans
        assert np.var(kernel) == pytest.approx(expected, rel=0.03)
        assert np.abs(kernel).max() <= np.sqrt(3 * expected) * 1.0001
    assert {kernel.shape[0] for kernel in kernels} == {1, 3}


def test_the_critics_update_classifies_real_images_alone():
    """Without an adversarial loss, the critic's gradient is that of the cross-entropy on real images."""
    model = gan(loss=NOTHING, class_weights=(0.5, 0.0))
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), jit_compile=False)
    real, before = to_images(IMAGES[:12]), [v.numpy() for v in model.critic.trainable_variables]
    with tf.GradientTape() as tape:
        logits = model.critic(real)[1]
        probabilities = tf.nn.log_softmax(logits)
        loss = -0.5 * tf.reduce_mean(tf.gather(probabilities, LABELS[:12], batch_dims=1))
    gradients = tape.gradient(loss, model.critic.trainable_variables)
    model.train_step((tf.constant(IMAGES[:12]), tf.constant(LABELS[:12])))
    for was, gradient, now in zip(before, gradients, model.critic.trainable_variables, strict=True):
        np.testing.assert_allclose(now, was - 0.1 * (0.0 if gradient is None else gradient), atol=1e-5)


def test_the_generator_learns_to_be_classified():
    """Alone with a fixed critic, its classes' cross-entropy falls well below ln 3."""
    model = gan(loss=NOTHING, class_weights=(1.0, 1.0))
    model.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-2), jit_compile=False)
    images = np.where(LABELS[:, None, None, None] == [0, 1, 2], 255, 0)[:, :, :, :1] + np.zeros((48, 16, 16, 1))
    images[LABELS == 1, :8] = 255
    history = model.fit(images.astype(np.uint8), LABELS, batch_size=16, epochs=40, verbose=0).history
    assert history["critic_class_loss"][-1] < 0.3
    assert history["generator_class_loss"][-1] < 0.5 < np.log(3) - 0.5


def test_labels_stay_with_their_images():
    marked = np.repeat(np.arange(20, dtype=np.uint8), 4).reshape(20, 2, 2)
    images, labels = next(iter(datasets.batches((marked, np.arange(20)), 12, seed=1, start=3)))
    np.testing.assert_array_equal(images[:, 0, 0], labels)
    alone = next(iter(datasets.batches(marked, 12, seed=1, start=3)))
    np.testing.assert_array_equal(images, alone)


def test_clamping_compares_images_of_the_same_class():
    """x depends on the label alone: with the same labels for z and z' every quotient is 0."""
    z, labels = keras.Input([4]), keras.Input([], dtype="int32")
    table = keras.layers.Embedding(3, 256)(labels)
    images = keras.layers.Reshape([16, 16, 1])(keras.layers.Add()([table, 0.0 * keras.layers.Dense(256)(z)]))
    model = models.GAN(
        keras.Model([z, labels], images), gan().critic, num_classes=3, generator_penalties=[JacobianClamping()]
    )
    logs = model.train_step((tf.constant(IMAGES[:12]), tf.constant(LABELS[:12])))
    assert float(logs["quotient"]) == 0.0


def test_the_generators_batch_is_a_multiple_of_the_critics(monkeypatch):
    model, sizes = gan(generator_batch=2, d_steps=3), []
    draw = type(model)._latents
    monkeypatch.setattr(type(model), "_latents", lambda self, n, stream: sizes.append(int(n)) or draw(self, n, stream))
    model.train_step((tf.constant(IMAGES[:24]), tf.constant(LABELS[:24])))
    assert sizes == [8, 8, 8, 16]


def test_dequantised_images_fill_the_steps_between_grey_levels():
    """v/128 − 1 + U(0, 1/128): each level's interval is [v/128 − 1, (v + 1)/128 − 1), its middle the mean."""
    levels = tf.repeat(tf.constant([[0], [100], [255]], tf.uint8), 20_000, axis=1)
    found = dequantised(levels, [1, 2]).numpy()
    low = np.array([[0], [100], [255]]) / 128 - 1
    assert (found >= low).all()
    assert (found < low + 1 / 128 + 1e-6).all()
    np.testing.assert_allclose(found.mean(axis=1), low[:, 0] + 1 / 256, atol=5 * (1 / 128) / np.sqrt(12 * 20_000))
    with pytest.raises(ValueError, match=r"whole numbers 0 to 255 \(uint8\), found float32"):
        dequantised(tf.zeros([2, 2]), [1, 2])


def test_the_averaged_generator_is_the_running_mean_of_the_weights():
    """w̄ ← βw̄ + (1 − β)w after each step, from w at step 0; moving statistics are those of the generator."""
    model = gan(ema_decay=0.75)
    mean = [v.numpy() for v in model.generator.variables]
    assert model.evaluated_generator is model.averaged_generator
    for start in (0, 12, 24):
        model.train_step((tf.constant(IMAGES[start : start + 12]), tf.constant(LABELS[start : start + 12])))
        for index, v in enumerate(model.generator.variables):
            mean[index] = 0.75 * mean[index] + 0.25 * v.numpy() if v.trainable else v.numpy()
    for expected, v in zip(mean, model.averaged_generator.variables, strict=True):
        np.testing.assert_allclose(v, expected, atol=1e-6)
    plain = gan()
    assert plain.evaluated_generator is plain.generator


def test_averaging_does_not_disturb_training():
    plain, averaged = gan(), gan(ema_decay=0.5)
    for model in (plain, averaged):
        model.train_step((tf.constant(IMAGES[:12]), tf.constant(LABELS[:12])))
    for one, other in zip(plain.generator.variables, averaged.generator.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_adam_sees_the_whole_gradient_of_an_embedding():
    """Its second moment is (1 − β₂)(Σg)² of a class's samples, and not (1 − β₂)Σg²."""
    seen = []

    class Watched(keras.optimizers.SGD):
        def apply(self, gradients, variables=None):
            seen.extend(zip(gradients, variables, strict=True))
            super().apply(gradients, variables)

    model = gan()
    model.compile(Watched(0.1), keras.optimizers.SGD(0.1), jit_compile=False)
    model.train_step((tf.constant(IMAGES[:12]), tf.constant(LABELS[:12])))
    assert any("embedding" in variable.path for _, variable in seen)
    assert all(tf.is_tensor(gradient) for gradient, _ in seen)


def test_the_averaged_generator_is_normalised_by_its_own_spectral_norm():
    """Its kernel moves apart from the generator's: in use its largest singular value is 1 all the same."""
    z, labels = keras.Input([4]), keras.Input([], dtype="int32")
    hidden = keras.layers.Concatenate()([z, keras.layers.Embedding(3, 8)(labels)])
    hidden = layers.SpectralNormalization(keras.layers.Dense(256, "tanh"))(hidden)
    generator = keras.Model([z, labels], keras.layers.Reshape([16, 16, 1])(hidden))
    model = models.GAN(generator, gan().critic, num_classes=3, ema_decay=0.98)
    model.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-3), jit_compile=False)
    model.fit(IMAGES, LABELS, batch_size=12, epochs=15, verbose=0)
    raw, averaged = (n.layers[-2] for n in (model.generator, model.averaged_generator))
    assert isinstance(averaged, layers.SpectralNormalization)
    assert not np.allclose(raw.layer.kernel, averaged.layer.kernel, atol=1e-2)
    largest = np.linalg.svd(averaged.normalised_kernel().numpy(), compute_uv=False)[0]
    assert largest == pytest.approx(1.0, abs=0.01)


def test_a_whole_step_compiles_under_xla():
    """With labels, averaged weights and several critic steps, as on a GPU; test_penalised.py has penalties."""
    model = gan(ema_decay=0.9, d_steps=2)
    model.compile(jit_compile=True)
    history = model.fit(IMAGES, LABELS, batch_size=8, steps_per_epoch=1, verbose=0).history
    assert int(model.step) == 1
    assert np.isfinite([values[-1] for values in history.values()]).all()


@pytest.mark.parametrize("kind", ["arrays", "dataset", "column"])
def test_fit_takes_labels(kind):
    data = (IMAGES, LABELS[:, None] if kind == "column" else LABELS)
    model = gan(dequantise=True)
    if kind == "arrays":
        history = model.fit(*data, batch_size=12, verbose=0).history
    else:
        history = model.fit(tf.data.Dataset.from_tensor_slices(data).batch(12), verbose=0).history
    assert np.isfinite(history["critic_class_loss"]).all()


def plain(**options):
    return models.GAN(*architectures.mlp((16, 16, 1), n_z=4, width=4, depth=1)[:2], **options)


@functools.cache
def shared():
    """A GAN for mistakes that are found before training."""
    return gan()


@functools.cache
def shared_plain():
    return plain()


@functools.cache
def conditional_generator():
    return architectures.wgangp_resnet((16, 16, 1), num_classes=3, n_z=4, channels=4).generator


@pytest.mark.parametrize(
    "build, message",
    [
        (
            lambda: shared_plain().fit(IMAGES, LABELS),
            r"labels \[48\] were given, but the generator takes latents alone",
        ),
        (lambda: shared().fit(IMAGES), "conditional on 3 classes, but the data has no labels"),
        (
            lambda: shared().training_data(dataset(None)),
            "conditional on 3 classes, but dataset 'mine' has no labels",
        ),
        (
            lambda: shared().training_data(dataset(LABELS + 1)),
            r"must lie in 0 to 2 \(num_classes = 3\), found 1 to 3",
        ),
        (
            lambda: shared().training_data(dataset(LABELS[:7])),
            r"whole numbers \[48\], one for each image, found int64 \[7\]",
        ),
        (
            lambda: shared().training_data(dataset(LABELS % 2)),
            "conditional on 3 classes, dataset 'mine' has labels 0 to 1",
        ),
        (
            lambda: gan(dequantise=True).training_data(dataset(images=IMAGES / 127.5 - 1.0)),
            r"dequantise needs images of whole numbers 0 to 255 \(uint8\), found float64",
        ),
        (
            lambda: models.GAN(conditional_generator(), networks(6)[1], num_classes=6),
            r"does not take labels 0 to 5 \(num_classes = 6\)",
        ),
        (
            lambda: shared().fit(tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(12), LABELS),
            "brings its labels along",
        ),
        (lambda: shared().fit(IMAGES, LABELS / 2.0), r"labels must be whole numbers \[48\].* found float64 \[48\]"),
        (
            lambda: shared().training_data(dataset(LABELS, np.zeros((48, 28, 28, 1), np.uint8))),
            r"makes images \[16, 16, 1\], those of dataset 'mine' are \[28, 28, 1\]",
        ),
        (
            lambda: plain(class_weights=(1.0, 0.1)),
            r"class_weights = \(1.0, 0.1\) and .* no class logits",
        ),
        (lambda: gan(class_weights=1.0), "class_weights must be a pair"),
        (lambda: gan(class_weights=(1.0, -0.1)), "class_weights must be at least 0"),
        (
            lambda: models.GAN(conditional_generator(), shared_plain().critic, num_classes=3),
            r"so the critic must return \[logits, class logits \[B, 3\]\], found no class logits",
        ),
        (
            lambda: models.GAN(conditional_generator(), networks(4)[1], num_classes=3),
            r"found class logits \[\[4\]\]",
        ),
        (
            lambda: models.GAN(shared_plain().generator, shared().critic),
            r"takes no labels .* critic with class logits \[\[3\]\]",
        ),
        (lambda: models.GAN(conditional_generator(), shared().critic), r"say how many classes \(num_classes\)"),
        (
            lambda: models.GAN(shared_plain().generator, shared_plain().critic, num_classes=3),
            "num_classes = 3, but .* latents alone",
        ),
        (lambda: gan(ema_decay=1.0), "ema_decay must be less than 1"),
        (
            lambda: gan(dequantise=True).fit(IMAGES / 127.5 - 1.0, LABELS),
            "dequantise needs images of whole numbers",
        ),
        (lambda: architectures.wgangp_resnet((12, 12, 1)), "can be halved 2 times .* found 12"),
        (lambda: architectures.wgangp_resnet((31, 31, 1)), "can be halved 2 times .* found 31"),
        (lambda: architectures.wgangp_resnet((32, 18, 1)), "can be halved 2 times .* found 32 by 18"),
        (lambda: architectures.wgangp_resnet((32, 32, 1), num_classes=1), "num_classes must be at least 2"),
    ],
)
def test_wrong_combinations_name_both_sides(build, message):
    with pytest.raises(ValueError, match=message):
        build()
