"""How much is computed at once."""

import types

import pytest
import tensorflow as tf
from generators import CASES, latents

from tfjc import architectures, evaluators
from tfjc.geometry import _memory, blocks, inspect, jacobian
from tfjc.geometry._generator import Inspection


@pytest.mark.parametrize("pairs, expected", [(80, 8), (1000, 8), (79, 4), (30, 3), (10, 1), (3, 1)])
def test_blocks_are_of_even_size(pairs, expected):
    """8 samples of 10 passes: 79 pairs take two blocks of 4, not of 7 and 1."""
    assert _memory.samples(8, 10, pairs) == expected


@pytest.mark.parametrize(
    "size, columns, pairs, expected",
    [
        (8, 10, None, None),
        (8, 10, 80, None),
        (1, 10, 9, 5),  # two rounds of 5, not of 9 and 1
        (1, 10, 3, 3),
        (1, 10, 1, 2),  # TensorFlow's loop takes two at least
        (4, 20000, 80, 20),  # n_x passes of batch_jacobian
    ],
)
def test_passes_are_bounded_by_the_pairs(size, columns, pairs, expected):
    assert _memory.passes(size, columns, pairs) == expected


@pytest.mark.parametrize("free, expected", [(0, 2), (4 * 500, 4), (4 * 1000, 8), (4 * 7900, 64)])
def test_free_memory_decides_where_chunk_does_not(monkeypatch, free, expected):
    """A quarter of it, at 100 bytes a pair, rounded down to a power of two; 2 at least."""
    monkeypatch.setattr(_memory, "_free_on_host", lambda: free)
    assert _memory.pairs(Inspection(4, 100, 1e-7), None) == expected
    assert _memory.pairs(None, 7) == 7


def test_a_containers_limit_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(_memory.psutil, "virtual_memory", lambda: types.SimpleNamespace(available=5000))
    monkeypatch.setattr(_memory, "_GROUP", tmp_path)
    assert _memory._free_on_host() == 5000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1100\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 1000\n")
    assert _memory._free_on_host() == 5000
    (tmp_path / "memory.max").write_text("3000\n")
    assert _memory._free_on_host() == 2900


def test_activations_are_counted_by_sample():
    """5 → 12 linear: one MatMul of 12 float32, whatever the batch. And in a function called by a function."""
    case = CASES[0]
    generator = case.make()
    for count in (1, 7):
        assert inspect(generator, latents(case, count)) == Inspection(12, 48, pytest.approx(1.19e-7, rel=1e-2))
    nested = tf.function(lambda z: tf.function(generator)(z))
    assert inspect(nested, latents(case)).activation_bytes >= 48


@pytest.mark.parametrize("policy, epsilon", [("float32", 2**-23), ("mixed_float16", 2**-10), ("mixed_bfloat16", 2**-7)])
def test_the_coarsest_type_is_found(policy, epsilon):
    case = CASES[3]
    assert inspect(case.make(policy), latents(case)).epsilon == epsilon


def test_nothing_is_measured_in_tf32():
    """A GPU would round to 10 bits where TensorFlow allows it; a generator looks at what is allowed when called."""
    allowed = []

    def generator(z):
        allowed.append(tf.config.experimental.tensor_float_32_execution_enabled())
        return tf.sin(z)

    z = tf.random.stateless_normal([3, 4], [1, 2])
    inspection = inspect(generator, z)
    for measure in (
        lambda: list(blocks(generator, z, inspection=inspection)),
        lambda: evaluators.ConditioningEvaluator(z).quotients(generator),
    ):
        allowed.clear()
        measure()
        assert allowed and not any(allowed)
        assert tf.config.experimental.tensor_float_32_execution_enabled()


def test_free_memory_that_is_short_changes_no_number(monkeypatch):
    generator = architectures.dcgan((16, 16, 3), n_z=12, channels=4).generator
    z = tf.random.stateless_normal([5, 12], [1, 2])
    whole = jacobian(generator, z)
    monkeypatch.setattr(_memory, "_free_on_host", lambda: 4 * 9 * inspect(generator, z).activation_bytes)
    assert _memory.pairs(inspect(generator, z), None) == 8
    tf.debugging.assert_near(jacobian(generator, z), whole, rtol=1e-5, atol=1e-7)
