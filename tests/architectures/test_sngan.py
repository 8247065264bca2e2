"""SN-GAN's networks: published sizes and counts, what is normalised where, and what the wrong sizes are told."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import architectures, layers, models
from tfjc.penalties import JacobianClamping


def count(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def wrapped(network):
    """{name: wrapper or plain layer} of what has a kernel."""
    kinds = (layers.SpectralNormalization, keras.layers.Dense, keras.layers.Conv2D, keras.layers.Conv2DTranspose)
    return {layer.name: layer for layer in network.layers if isinstance(layer, kinds)}


def kernel_shapes(network):
    return [tuple(getattr(layer, "layer", layer).kernel.shape) for layer in wrapped(network).values()]


def block(channels_in, channels_out, hidden, shortcut=True):
    """Weights of two 3×3 convolutions and a 1×1 shortcut, with biases."""
    branch = 9 * channels_in * hidden + hidden + 9 * hidden * channels_out + channels_out
    return branch + shortcut * (channels_in * channels_out + channels_out)


@pytest.mark.parametrize("size, smallest", [(32, 4), (48, 6)])
def test_the_cnn_is_that_of_facts_6(size, smallest):
    """The kernels layer by layer, and the counts that follow from them (with biases, and scale and offset of BN)."""
    networks = architectures.sngan_cnn((size, size, 3))
    area = smallest * smallest
    generator = [(128, area * 512), (4, 4, 256, 512), (4, 4, 128, 256), (4, 4, 64, 128), (3, 3, 64, 3)]
    critic = [(3, 3, 3, 64), (4, 4, 64, 64), (3, 3, 64, 128), (4, 4, 128, 128)]
    critic += [(3, 3, 128, 256), (4, 4, 256, 256), (3, 3, 256, 512), (area * 512, 1)]
    assert kernel_shapes(networks.generator) == generator
    assert kernel_shapes(networks.critic) == critic
    biases = area * 512 + 256 + 128 + 64 + 3
    assert count(networks.generator) == sum(map(np.prod, generator)) + biases + 2 * (256 + 128 + 64)
    assert count(networks.critic) == sum(map(np.prod, critic)) + 2 * (64 + 128 + 256) + 512 + 1
    slopes = {layer.negative_slope for layer in networks.critic.layers if isinstance(layer, keras.layers.LeakyReLU)}
    assert slopes == {np.float32(0.1)} or slopes == {0.1}


def test_the_resnet_for_32_pixels_is_the_published_one():
    """FACTS 6: dense 4·4·256, three up-blocks of 256; critic of 128: down, down, plain, plain."""
    networks = architectures.sngan_resnet((32, 32, 3))
    generator = 129 * 16 * 256 + 3 * (block(256, 256, 256) + 4 * 256) + 2 * 256 + 9 * 256 * 3 + 3
    critic = block(3, 128, 128) + block(128, 128, 128) + 2 * block(128, 128, 128, shortcut=False) + 129
    assert (count(networks.generator), count(networks.critic)) == (generator, critic) == (4_276_739, 1_053_825)


def test_the_resnet_for_48_pixels_is_the_published_one():
    """FACTS 6: dense 6·6·512, up-blocks of 256, 128, 64; critic down 64, 128, 256, 512, plain 1024; a block's hidden
    channels are the generator's outgoing and the critic's incoming ones."""
    networks = architectures.sngan_resnet((48, 48, 3))
    generator = 129 * 36 * 512 + 2 * 64 + 9 * 64 * 3 + 3
    for before, after in ((512, 256), (256, 128), (128, 64)):
        generator += block(before, after, after) + 2 * before + 2 * after
    critic = block(3, 64, 64) + 1025
    for before, after in ((64, 128), (128, 256), (256, 512), (512, 1024)):
        critic += block(before, after, before)
    assert (count(networks.generator), count(networks.critic)) == (generator, critic)


@pytest.mark.parametrize("size, maps", [(64, [1, 2, 4, 8, 16]), (128, [1, 2, 4, 8, 16]), (256, [1, 2, 4, 8, 8, 16])])
def test_the_critic_of_large_images_ends_at_four_pixels(size, maps):
    networks = architectures.sngan_resnet((size, size, 1), channels=2, normalise="none")
    halved = [layer.output.shape[1:] for layer in networks.critic.layers if isinstance(layer, keras.layers.Add)]
    expected = [(size >> (k + 1),) * 2 + (2 * unit,) for k, unit in enumerate(maps)]
    assert halved[: len(maps)] == expected
    rest = [] if size == 64 else [(size >> len(maps), size >> len(maps), 32)]
    assert halved[len(maps) :] == rest


@pytest.mark.parametrize("make", [architectures.sngan_cnn, architectures.sngan_resnet])
@pytest.mark.parametrize("normalise", ["critic", "generator", "both", "none"])
def test_spectral_normalisation_is_where_it_is_put(make, normalise):
    networks = make((32, 32, 3), n_z=5, channels=2, normalise=normalise)
    for network, name in ((networks.generator, "generator"), (networks.critic, "critic")):
        found = [isinstance(layer, layers.SpectralNormalization) for layer in wrapped(network).values()]
        assert len(found) >= 5
        assert set(found) == {normalise in (name, "both")}
    if normalise in ("critic", "both"):
        for layer in wrapped(networks.critic).values():
            top = np.linalg.svd(layers.kernel_matrix(layer), compute_uv=False)[0]
            ratio = np.linalg.norm(layers.kernel_matrix(layer)) / np.linalg.norm(layer.normalised_kernel())
            assert ratio == pytest.approx(top, rel=0.05)


@pytest.mark.parametrize("make", [architectures.sngan_cnn, architectures.sngan_resnet])
@pytest.mark.parametrize("level", [2, "adaptive"])
def test_preconditioning_is_on_the_critics_convolutions_alone(make, level):
    networks = make((32, 32, 3), n_z=5, channels=2, normalise="both", preconditioning=level)
    for layer in wrapped(networks.critic).values():
        if isinstance(layer.layer, keras.layers.Dense):
            assert type(layer) is layers.SpectralNormalization
        else:
            assert layer.level == level
    assert {type(layer) for layer in wrapped(networks.generator).values()} == {layers.SpectralNormalization}


def test_names_do_not_depend_on_what_was_made_before():
    names = [list(wrapped(architectures.sngan_cnn((32, 32, 3), channels=1).critic)) for _ in range(2)]
    assert names[0] == names[1] == [*(f"conv_{k}" for k in range(1, 8)), "dense_8"]


def test_the_residual_critic_sums_over_all_places():
    """With weights of a plain network: the logit is dense(Σ relu(last map)), four times that of the mean for 2×2."""
    critic = architectures.sngan_resnet((32, 32, 3), channels=2, normalise="none").critic
    last = [layer for layer in critic.layers if isinstance(layer, keras.layers.Add)][-1].output
    x = tf.random.stateless_normal([2, 32, 32, 3], [1, 1])
    maps = keras.Model(critic.input, last)(x)
    dense = [layer for layer in critic.layers if isinstance(layer, keras.layers.Dense)][-1]
    expected = tf.reduce_sum(tf.nn.relu(maps), axis=[1, 2]) @ dense.kernel + dense.bias
    np.testing.assert_allclose(critic(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [architectures.sngan_cnn, architectures.sngan_resnet])
def test_seeds_decide_on_the_weights(make):
    def kernels(seed):
        networks = make((32, 32, 3), channels=2, seed=seed)
        return [np.array(v) for n in networks[:2] for v in n.trainable_variables if "kernel" in v.path]

    first, again, other = kernels(0), kernels(0), kernels(1)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 0
    assert len({tuple(k.ravel()[:2]) for k in first}) == len(first)  # no two layers share their numbers


def test_a_clamped_step_trains_both():
    """Normalised generator, adaptive critic, clamping: all weights move but biases, which normalisation may cancel."""
    networks = architectures.sngan_cnn((32, 32, 1), n_z=5, channels=1, normalise="both", preconditioning="adaptive")
    gan = models.GAN(*networks[:2], generator_penalties=JacobianClamping(lambda_min=10.0), seed=1)
    before = [np.array(v) for v in gan.trainable_variables]
    gan.train_step(tf.random.stateless_uniform([4, 32, 32, 1], [1, 1], -1, 1))
    moved = [np.abs(v - b).max() > 0 for v, b in zip(gan.trainable_variables, before, strict=True)]
    assert len(moved) == 2 * (5 + 8) + 2 * 3
    assert all("bias" in v.path for v, m in zip(gan.trainable_variables, moved, strict=True) if not m)
