"""DCGAN and the fully connected pair: shapes, sizes, weights, seeds."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfjc import architectures


def kinds(network):
    return [type(layer).__name__ for layer in network.layers]


@pytest.mark.parametrize(
    "size, smallest, widths",
    [(28, 7, [64, 128]), (32, 4, [64, 128, 256]), (48, 6, [64, 128, 256]), (64, 4, [64, 128, 256, 512])],
)
@pytest.mark.parametrize("colours", [1, 3])
def test_dcgan_follows_the_size_chain(size, smallest, widths, colours):
    """FACTS 4: 28 → 14 → 7; 32 → 16 → 8 → 4; 48 → 24 → 12 → 6; channels double with every halving."""
    networks = architectures.dcgan((size, size, colours), n_z=10)
    images = networks.generator(networks.prior.sample(2, seed=[1, 1]))
    assert images.shape == (2, size, size, colours)
    assert np.abs(images).max() <= 1
    assert networks.critic(images).shape == (2, 1)
    maps = [layer.output.shape[1:] for layer in networks.critic.layers if "conv2d" in layer.name]
    expected = [size >> (k + 1) for k in range(len(widths))]
    assert maps == [(side, side, width) for side, width in zip(expected, widths, strict=True)]
    assert next(layer for layer in networks.generator.layers if "reshape" in layer.name).output.shape[1:] == (
        smallest,
        smallest,
        widths[-1],
    )


def test_both_sides_are_halved_as_often_as_one_can_be():
    """28 by 32 → 14 by 16 → 7 by 8, where 7 is odd; 16 by 64 → 8 by 32 → 4 by 16, where 4 is the least."""
    for shape, smallest in (((28, 32, 3), (7, 8)), ((16, 64, 1), (4, 16))):
        generator, critic, *_ = architectures.dcgan(shape, n_z=2, channels=1)
        assert next(layer for layer in generator.layers if "reshape" in layer.name).output.shape[1:3] == smallest
        assert [layer for layer in critic.layers if "conv2d" in layer.name][-1].output.shape[1:3] == smallest


def test_dcgan_has_batch_normalisation_where_the_paper_has_it():
    """After every layer but the generator's last and the critic's first; none at all without."""
    networks = architectures.dcgan((32, 32, 3))
    assert kinds(networks.generator).count("BatchNormalization") == 3
    assert kinds(networks.critic).count("BatchNormalization") == 2
    assert kinds(networks.critic)[:3] == ["InputLayer", "Conv2D", "LeakyReLU"]
    for network in architectures.dcgan((32, 32, 3), batch_norm=False)[:2]:
        assert "BatchNormalization" not in kinds(network)


def test_dcgan_counts():
    """28 pixels, c = 2, n_z = 3: dense 4·(7·7·4); BN 2·4; 5·5·4·2 + 2; BN 2·2; 5·5·2·1 + 1. Critic: 5·5·1·2 + 2;
    5·5·2·4 + 4; BN 2·4; 7·7·4 + 1."""
    networks = architectures.dcgan((28, 28, 1), n_z=3, channels=2)
    counts = [sum(int(np.prod(v.shape)) for v in network.trainable_variables) for network in networks[:2]]
    assert counts == [784 + 8 + 202 + 4 + 51, 52 + 204 + 8 + 197]


def test_initial_weights_are_normal_with_deviation_0_02():
    for network in architectures.dcgan((28, 28, 1), channels=32)[:2]:
        for kernel in (v for v in network.trainable_variables if "kernel" in v.path and np.prod(v.shape) > 5000):
            assert np.std(kernel) == pytest.approx(0.02, rel=0.05)
            assert abs(np.mean(kernel)) < 5 * 0.02 / np.sqrt(np.prod(kernel.shape))


@pytest.mark.parametrize("make", [architectures.dcgan, architectures.mlp])
def test_seeds_decide_on_the_weights(make):
    def kernels(seed):
        networks = make((8, 8, 1), seed=seed)
        return [np.array(v) for n in networks[:2] for v in n.trainable_variables if "kernel" in v.path]

    first, again, other = kernels(0), kernels(0), kernels(1)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 0
    flat = [k.ravel()[:4] for k in first]
    assert len({tuple(k) for k in flat}) == len(flat)  # no two layers share their numbers


@pytest.mark.parametrize("make", [architectures.dcgan, architectures.mlp])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_images_and_logits_are_float32_under_sixteen_bits(make, policy):
    keras.config.set_dtype_policy(policy)
    try:
        networks = make((8, 8, 1))
    finally:
        keras.config.set_dtype_policy("float32")
    images = networks.generator(networks.prior.sample(2, seed=[1, 1]))
    assert (images.dtype, networks.critic(images).dtype) == ("float32", "float32")


def test_the_prior_is_standard_normal_and_follows_its_seed():
    prior = architectures.standard_normal(3)
    z = prior.sample(20_000, seed=[1, 2]).numpy()
    assert np.abs(z.mean(0)).max() < 5 / np.sqrt(20_000)
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=5 * np.sqrt(2 / 20_000))
    theirs = tfp.distributions.MultivariateNormalDiag(tf.zeros(3))
    np.testing.assert_array_equal(theirs.sample(20_000, seed=[1, 2]), z)


def test_mlp_fits_points_and_images():
    for shape in ((2,), (8, 8, 3)):
        networks = architectures.mlp(shape, n_z=5, width=7, depth=3)
        assert networks.generator(networks.prior.sample(4, seed=[1, 1])).shape == (4, *shape)
        assert kinds(networks.generator).count("Dense") == 4
