"""Weights and rejection of latents by their Jacobians, against closed forms."""

import numpy as np
import pytest

from tfjc.geometry import Spectrum, polarity_weights, smallest_norms


def of(*rows):
    values = np.array(rows, np.float64)
    return Spectrum(values, values.mean(axis=0))


def test_weights_are_powers_of_the_volume():
    """Volumes 6, 12 and 1: weights 6^ρ : 12^ρ : 1."""
    spectrum = of([3, 2], [4, 3], [2, 0.5])
    for rho in (-2.0, 0.0, 0.5, 1.0):
        expected = np.array([6.0, 12.0, 1.0]) ** rho
        np.testing.assert_allclose(polarity_weights(spectrum, rho), expected / expected.sum(), rtol=1e-12)
    np.testing.assert_allclose(polarity_weights(spectrum, 1.0, k=1), [3 / 9, 4 / 9, 2 / 9], rtol=1e-12)


def test_weights_do_not_depend_on_the_scale_of_the_images():
    values = np.random.default_rng(0).uniform(0.5, 2.0, [9, 4])
    values = -np.sort(-values, axis=1)
    np.testing.assert_allclose(polarity_weights(of(*values), 3.0), polarity_weights(of(*(127.5 * values)), 3.0))


def test_neither_overflow_nor_underflow():
    """∏σ = 10^±600 at ρ = ±5: the logarithms differ by 6,000·ln 10."""
    spectrum = of([1e3] * 200, [1e-3] * 200)
    np.testing.assert_array_equal(polarity_weights(spectrum, 5.0), [1.0, 0.0])
    np.testing.assert_array_equal(polarity_weights(spectrum, -5.0), [0.0, 1.0])


def test_what_is_below_rounding_is_no_factor():
    """σ₂ = 1e-9 beside 1 is rounding at the second latent, so that one value counts at each."""
    spectrum = of([2, 1], [4, 1e-9])
    np.testing.assert_allclose(polarity_weights(spectrum, 1.0), [1 / 3, 2 / 3])
    with pytest.raises(ValueError, match="the 2 largest σ must be above rounding at each latent, found rank 1 at one"):
        polarity_weights(spectrum, 1.0, k=2)


def test_uniform_on_the_image_of_a_map_of_known_density():
    """x = z² for z uniform on (0, 1) has σ = 2z; weights of ρ = 1 make x uniform: mean 1/2, variance 1/12."""
    z = (np.arange(10_000) + 0.5) / 10_000
    weights = polarity_weights(of(*(2.0 * z)[:, None]), 1.0)
    np.testing.assert_allclose(
        [np.sum(weights * z**2), np.sum(weights * (z**2 - 0.5) ** 2)], [1 / 2, 1 / 12], rtol=1e-6
    )


@pytest.mark.parametrize(
    "share, kept", [(1.0, [0, 1, 2, 3]), (0.75, [0, 1, 3]), (0.5, [0, 3]), (0.26, [0, 3]), (0.01, [3])]
)
def test_the_smallest_norms_are_kept(share, kept):
    """Norms 5, 13, 17 and 1."""
    np.testing.assert_array_equal(smallest_norms(of([4, 3], [12, 5], [15, 8], [0.8, 0.6]), share), kept)


def test_a_share_is_not_raised_by_rounding():
    assert len(smallest_norms(of(*np.ones([100, 1])), 0.07)) == 7


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: polarity_weights(of([1.0]), np.inf), "rho must be a finite number"),
        (lambda: polarity_weights(of([2.0, 1.0]), 1.0, k=3), "k must be at most 2, found 3"),
        (lambda: polarity_weights(of([2.0, 1.0], [0.0, 0.0]), 1.0), "found rank 0 at one"),
        (lambda: polarity_weights(of([2.0, 1.0], [np.nan, np.nan]), 1.0), "must be finite, found nan at latent 1"),
        (lambda: smallest_norms(of([1.0]), 0.0), "share must be greater than 0"),
        (lambda: smallest_norms(of([1.0]), 1.5), "share must be at most 1, found 1.5"),
        (lambda: smallest_norms(of([np.nan]), 0.5), "must be finite, found nan at latent 0"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_least_share_keeps_one_latent():
    np.testing.assert_array_equal(smallest_norms(of([2.0], [1.0], [3.0]), 1e-30), [1])
