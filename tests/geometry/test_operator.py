"""J as linear maps, against J itself; and the ends of its spectrum, against the whole."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from generators import CASES, latents
from scipy.sparse.linalg import aslinearoperator

from tfjc.geometry import extremes, in_float64, jacobian, operator

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
def test_products_are_those_of_the_jacobian(case):
    generator, z = case.make(), latents(case)
    j, maps = jacobian(generator, z).numpy(), operator(generator, z)
    random = np.random.default_rng(0)
    v, u = random.normal(size=(3, case.n_z)), random.normal(size=j.shape[:2])
    tolerance = {"rtol": 1e-4, "atol": 1e-5 * np.abs(j).max()}
    assert maps.shape == j.shape
    np.testing.assert_allclose(maps.matvec(v), np.einsum("bxz,bz->bx", j, v), **tolerance)
    np.testing.assert_allclose(maps.rmatvec(u), np.einsum("bxz,bx->bz", j, u), **tolerance)


@each_case
def test_one_latent_is_a_scipy_operator(case):
    generator, z = case.make("float64"), latents(case, dtype="float64")
    j, one = jacobian(generator, z).numpy()[1], operator(generator, z[1])
    assert (one.shape, one.dtype) == (j.shape, np.float64)
    np.testing.assert_allclose(one @ np.eye(case.n_z), j, atol=1e-12)
    np.testing.assert_allclose(one.H @ np.eye(len(j)), j.T, atol=1e-12)
    np.testing.assert_allclose(operator(generator, z)[1] @ np.ones(case.n_z), j.sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(one.rmatvec(np.ones(len(j))), j.sum(axis=0), atol=1e-12)


def test_labels_reach_the_products():
    def generator(z, labels):
        return z * tf.cast(labels, z.dtype)[:, None]

    z = tf.ones([3, 4])
    np.testing.assert_array_equal(operator(generator, z, labels=[1, 2, 3]).matvec(z), [[1] * 4, [2] * 4, [3] * 4])
    np.testing.assert_array_equal(operator(generator, z[0], labels=5) @ np.eye(4), 5 * np.eye(4))


def test_a_constant_generator_is_the_zero_map():
    maps = operator(lambda z: tf.ones([tf.shape(z)[0], 7]), tf.zeros([2, 3]))
    np.testing.assert_array_equal(maps.matvec(np.ones([2, 3])), np.zeros([2, 7]))
    np.testing.assert_array_equal(maps.rmatvec(np.ones([2, 7])), np.zeros([2, 3]))


def test_vectors_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"v must have shape \[2, 3\], found \[2, 4\]"):
        operator(tf.identity, tf.zeros([2, 3])).matvec(np.ones([2, 4]))


def orthonormal(rows, columns, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(rows, columns)))[0]


@pytest.mark.parametrize("condition", [1e1, 1e4])
@pytest.mark.parametrize("krylov", [None, 40])
def test_extremes_of_a_known_spectrum(condition, krylov):
    """σ geometric from 1 to 1/condition, in float64: values, residuals and directions."""
    values, right = np.geomspace(1.0, 1.0 / condition, 40), orthonormal(40, 40, 1)
    found = extremes(aslinearoperator(orthonormal(90, 40, 0) * values @ right.T), k=3, krylov=krylov)
    np.testing.assert_allclose(found.largest, values[:3], rtol=1e-10)
    np.testing.assert_allclose(found.smallest, values[-3:], rtol=1e-6)
    assert found.largest_residuals.max() < 1e-8
    assert found.smallest_residuals.max() < 1e-8
    np.testing.assert_allclose(np.abs(found.largest_vectors.T @ right[:, :3]), np.eye(3), atol=1e-6)
    np.testing.assert_allclose(np.abs(found.smallest_vectors.T @ right[:, -3:]), np.eye(3), atol=1e-3)


@each_case
def test_extremes_are_the_ends_of_the_whole_spectrum(case):
    generator, z = case.make(), latents(case)
    expected = np.linalg.svd(jacobian(generator, z).numpy().astype(np.float64), compute_uv=False)
    found = operator(generator, z).extremes(k=1)
    assert found.largest.shape == (3, 1)
    assert found.smallest_vectors.shape == (3, case.n_z, 1)
    np.testing.assert_allclose(found.largest[:, 0], expected[:, 0], rtol=1e-5)
    # The residual bounds the distance to a singular value, but for float32 rounding of the products.
    distance = np.abs(expected - found.smallest).min(axis=1)
    assert (distance <= found.smallest_residuals[:, 0] + 1e-6 * expected[:, 0]).all()
    np.testing.assert_allclose(found.smallest[:, 0], expected[:, -1], rtol=1e-3)


def test_a_rank_deficient_map_has_a_smallest_value_of_zero():
    found = operator(lambda z: z[:, :3], tf.ones([1, 6], tf.float64)).extremes(k=2)
    np.testing.assert_allclose(found.largest, 1.0)
    np.testing.assert_allclose(found.smallest, 0.0, atol=1e-12)


def test_mistakes_of_extremes_are_named():
    one = operator(tf.identity, tf.ones([6]))
    with pytest.raises(ValueError, match=r"k must be less than n_z = 6, found 6; tfjc\.geometry\.spectrum gives all 6"):
        extremes(one, k=6)
    with pytest.raises(ValueError, match="krylov must be at least 5, found 4"):
        extremes(one, k=2, krylov=4)
    crowded = aslinearoperator(np.diag(np.geomspace(1.0, 1e-4, 300)))
    with pytest.raises(ValueError, match="did not converge in a Krylov space of 9 dimensions"):
        extremes(crowded, k=2, krylov=9)


@functools.cache
def made_in_float64(case):
    return case.make("float64")


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("case", CASES[:4], ids=lambda case: case.name)
def test_the_float64_copy_is_the_same_function(case, policy):
    """Same weights; G and J as of the model built in float64 with them."""
    generator, reference, z = case.make(policy), made_in_float64(case), latents(case, dtype="float64")
    reference.set_weights(generator.get_weights())
    copy = in_float64(generator)
    assert copy(z).dtype == tf.float64
    np.testing.assert_allclose(copy(z), reference(z), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(jacobian(copy, z), jacobian(reference, z), rtol=1e-10, atol=1e-13)
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == ("float32", "float32")
    assert generator.weights[0].dtype == "float32"


def test_what_cannot_be_cloned_in_float64_is_named():
    with pytest.raises(ValueError, match="only a built Keras model can be cloned in float64, found function"):
        in_float64(lambda z: z)

    class Bare(keras.Model):
        def __init__(self, width):
            super().__init__()
            self.dense = keras.layers.Dense(width)

        def call(self, z):
            return self.dense(z)

    bare = Bare(3)
    bare(tf.ones([1, 2]))
    with pytest.raises(ValueError, match="Bare cannot be rebuilt from its configuration"):
        in_float64(bare)


def test_a_copy_that_is_another_function_is_refused():
    """Two activations of one name: by name alone the second would stand for both."""

    def times(factor):
        def act(x):
            return factor * x

        return act

    layers = [keras.layers.Dense(4, activation=times(a)) for a in (2.0, 5.0)]
    with pytest.raises(ValueError, match="computes another function: do its layers share names"):
        in_float64(keras.Sequential([keras.Input([3]), *layers]))


def test_extremes_of_degenerate_maps():
    zero = extremes(operator(lambda z: 0.0 * z, tf.ones([4])), k=2)
    np.testing.assert_array_equal((zero.largest, zero.smallest, zero.smallest_residuals), np.zeros([3, 2]))
    null = extremes(aslinearoperator(np.diag([3.0, 2.0, 1.0, 1.0, 0.5, 0.2, 0.0, 0.0])), k=3)
    np.testing.assert_allclose(null.smallest, [0.2, 0.0, 0.0], atol=1e-12)
    assert null.smallest_residuals.max() < 1e-10
    with pytest.raises(ValueError, match="nan or infinite"):
        extremes(operator(lambda z: z / 0.0, tf.ones([4])), k=2)


def test_extremes_of_an_isometry():
    """M = c²·I: σ_max²·I − M, on which the smallest values are found, is 0."""
    for matrix in (np.eye(20), 3.0 * np.eye(30, 20)):
        found = extremes(aslinearoperator(matrix), k=3)
        np.testing.assert_allclose((found.largest, found.smallest), matrix[0, 0], rtol=1e-14)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extremes_where_float32_does_not_hold_their_squares(scale):
    found = extremes(aslinearoperator(np.float32(scale * np.diag(np.linspace(1.0, 2.0, 20)))), k=1)
    np.testing.assert_allclose((found.largest[0], found.smallest[0]), (2.0 * scale, scale), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_products_of_every_scale_pass_for_adjoint(scale):
    maps = operator(lambda z: scale * z, tf.ones([2, 4]))
    np.testing.assert_allclose(maps.extremes(1).largest, scale, rtol=1e-5)
