"""Streams of random numbers: independent of each other, of their indices and seeds, and of a user's own draws."""

import ast
import collections
import itertools
import pathlib
import traceback

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from short_runs import train

import tfjc
from tfjc import architectures, models, penalties
from tfjc.evaluators import analysis
from tfjc.saving import export, loading
from tfjc.support import figures, noise
from tfjc.support.noise import Stream

ROOT = pathlib.Path(tfjc.__file__).parent
USERS_SEEDS = [[0, 0], [0, 1], [1, 0], [1, 1], [0, 7], [7, 0]]


def most_parallel(rows):
    """(the largest |cosine| between two rows [n, d], the bound that independent directions pass once in 10⁶ tests).

    The squared cosine of two independent directions in d dimensions follows Beta(1/2, (d − 1)/2).
    """
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = np.abs(rows @ rows.T)[np.triu_indices(len(rows), 1)]
    d = rows.shape[1]
    return cosines.max(), np.sqrt(scipy.stats.beta.isf(1e-6 / len(cosines), 0.5, (d - 1) / 2))


def test_the_bound_tells_parallel_from_independent_rows():
    rows = np.random.default_rng(0).normal(size=(400, 64))
    largest, bound = most_parallel(rows)
    assert largest < bound < 0.9
    assert most_parallel(np.concatenate([rows, -2.0 * rows[:1]]))[0] > bound


@pytest.mark.parametrize("seed, indices", [(0, ()), (0, (0, 0)), (1, ()), (7, (3,))])
def test_no_two_streams_draw_parallel_rows(seed, indices):
    """Of any stream, by TensorFlow or NumPy, nor with the draws that a user makes at seeds of his own."""
    rows = [tf.random.stateless_normal([4, 64], noise.seed(seed, stream, *indices)) for stream in Stream]
    rows += [noise.rng(seed, stream, *indices).standard_normal([4, 64]) for stream in Stream]
    rows += [tf.random.stateless_normal([4, 64], own) for own in USERS_SEEDS]
    rows += [np.random.default_rng(own).standard_normal([4, 64]) for own in (0, 1, 7, [0, 1], [1, 1], [7, 1])]
    rows += [tf.random.stateless_uniform([4, 64], own, -1.0, 1.0) for own in USERS_SEEDS]
    largest, bound = most_parallel(np.concatenate(rows).astype(np.float64))
    assert largest < bound


def test_every_seed_stream_and_index_has_its_own_draws():
    keys = [
        (s, stream, *indices) for s in (0, 1, 2) for stream in Stream for indices in ((), (0,), (1,), (0, 1), (1, 0))
    ]
    words = {tuple(noise.seed(*key).numpy()) for key in keys}
    assert len(words) == len(keys)
    assert not words & set(map(tuple, USERS_SEEDS))
    assert len({noise.integer(*key) for key in keys}) == len(keys)
    assert len({noise.rng(*key).random() for key in keys}) == len(keys)
    assert all(0 <= noise.integer(*key) < 2**31 for key in keys)


def test_a_seed_may_be_a_tensor_or_a_pair():
    """Tensors, also in a graph, give what whole numbers give; a pair that a caller gave is folded as a whole."""
    expected = noise.seed(5, Stream.CLAMPING, 3, 4).numpy()
    for kind in (tf.int32, tf.int64):
        arguments = [tf.constant(number, kind) for number in (5, 3, 4)]
        folded = tf.function(lambda s, *indices: noise.seed(s, Stream.CLAMPING, *indices))(*arguments)
        np.testing.assert_array_equal(folded, expected)
    pairs = {tuple(noise.seed(pair, Stream.CLAMPING).numpy()) for pair in itertools.product(range(4), repeat=2)}
    assert len(pairs) == 16
    assert not pairs & set(itertools.product(range(4), repeat=2))
    counted = [0, keras.Variable(3, dtype="int32")], (0, tf.constant(3, tf.int64)), np.array([0, 3])
    for given in counted:
        np.testing.assert_array_equal(noise.seed(given, Stream.CLAMPING), noise.seed([0, 3], Stream.CLAMPING))


@pytest.mark.parametrize("given", [None, 0.5, [0.0, 1.0], [1, 2, 3], [[1, 2]], "5", [None, 1]])
def test_what_is_no_seed_is_refused(given):
    with pytest.raises(ValueError, match="seed must be a whole number or a pair of them"):
        noise.seed(given, Stream.CLAMPING)


def test_a_penalty_steps_aside_from_latents_of_the_same_seed():
    """Somebody's loop with one seed for latents and penalties: δ and v are not z itself, nor is α the latents' own."""
    z = tf.random.stateless_normal([50, 64], [0, 0])
    moved = [penalties.JacobianClamping().perturb(z, [0, 0]), *penalties.OroJaR(1.0).perturb(z, [0, 0])]
    largest, bound = most_parallel(np.concatenate([z, *(z_p - z for z_p in moved)]).astype(np.float64))
    assert largest < bound


def test_the_numbers_of_streams_stay():
    """A number decides what is drawn: golden, so that runs of one version can be repeated by the next."""
    assert (Stream.MEASURED_LATENTS, Stream.DIRECTIONS, Stream.TRAINING_LATENTS, Stream.DATA_ORDER) == (1, 10, 20, 27)
    assert (Stream.GENERATOR_WEIGHTS, Stream.CRITIC_WEIGHTS) == (40, 41)
    assert noise.integer(0, Stream.GENERATOR_WEIGHTS) == 265424897
    assert noise.rng(0, Stream.REPORT).integers(1000) == 881
    np.testing.assert_array_equal(noise.seed(0, Stream.DIRECTIONS), [-707091567, 10])


SMALL = {
    "dcgan": lambda seed: architectures.dcgan((8, 8, 1), n_z=4, channels=2, seed=seed),
    "dcgan_vae": lambda seed: architectures.dcgan_vae((8, 8, 1), n_z=4, channels=2, seed=seed),
    "mlp": lambda seed: architectures.mlp((2,), width=4, seed=seed),
    "wgangp_resnet": lambda seed: architectures.wgangp_resnet((16, 16, 1), n_z=4, channels=2, seed=seed),
    "sngan_cnn": lambda seed: architectures.sngan_cnn((32, 32, 1), n_z=4, channels=1, seed=seed),
    "sngan_resnet": lambda seed: architectures.sngan_resnet((32, 32, 1), n_z=4, channels=1, seed=seed),
}


@pytest.mark.parametrize("name", SMALL)
def test_initial_weights_of_seeds_layers_and_networks_are_independent(name):
    """No two kernels begin alike, whatever their scale, over the layers of both networks at three seeds."""
    found = []
    for seed in (0, 1, 2):
        for network in SMALL[name](seed)[:2]:
            kernels = [v for v in network.trainable_variables if v.path.endswith("kernel")]
            found += [np.ravel(kernel)[:8] for kernel in kernels if np.size(kernel) >= 8]
    assert len(found) >= 12
    largest, bound = most_parallel(np.stack(found).astype(np.float64))
    assert largest < bound < 1.0


def test_the_same_seed_gives_the_same_weights():
    for first, second in zip(SMALL["dcgan"](3)[:2], SMALL["dcgan"](3)[:2], strict=True):
        for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


FORBIDDEN = {"default_rng", "SeedSequence", "RandomState", "fold_in", "stateless_fold_in", "set_seed"}


def raw_seeds(tree):
    """Lines of a module that make random numbers otherwise than from a seed of `noise`."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if "random" in names or getattr(node, "attr", None) in FORBIDDEN:
            yield node.lineno
        if not isinstance(node, ast.Call):
            continue
        seeds = [keyword.value for keyword in node.keywords if keyword.arg == "seed"]
        function = ast.unparse(node.func)
        if function.startswith("tf.random.") and not function.startswith("tf.random.stateless_"):
            yield node.lineno
        if "stateless_" in function:
            seeds += node.args[1:2]
        if any(isinstance(seed, (ast.Constant, ast.List, ast.Tuple)) for seed in seeds):
            yield node.lineno


def test_the_walk_finds_raw_seeds():
    lines = ["import random", "np.random.default_rng(0)", "tf.random.normal([2])", "f(seed=0)", "f(seed=[s, 0])"]
    lines += ["tf.random.stateless_normal(shape, [0, 0])", "tf.random.fold_in(s, 1)", "f(seed=s)"]
    assert sorted(set(raw_seeds(ast.parse("\n".join(lines))))) == [1, 2, 3, 4, 5, 6, 7]


def test_no_other_module_makes_a_seed():
    for path in ROOT.rglob("*.py"):
        if path != ROOT / "support" / "noise.py":
            assert list(raw_seeds(ast.parse(path.read_text()))) == [], path


class Witness:
    """Records where each seed was made, and which seeds reached TensorFlow's stateless functions from our modules."""

    def __init__(self, monkeypatch):
        self.made, self.drawn, self.strangers = collections.defaultdict(set), collections.Counter(), []
        for name in ("seed", "rng", "integer"):
            monkeypatch.setattr(noise, name, self._maker(getattr(noise, name)))
        for name in ("stateless_normal", "stateless_uniform", "stateless_truncated_normal"):
            monkeypatch.setattr(tf.random, name, self._drawer(getattr(tf.random, name)))

    def _maker(self, make):
        def recorded(seed, stream, *indices):
            result = make(seed, stream, *indices)
            words = result if isinstance(result, int) else (make.__name__, seed, stream, *indices)
            if tf.is_tensor(result):  # within tf.data there is no value
                words = tuple(result.numpy()) if hasattr(result, "numpy") else (stream, "in a graph")
            self.made[words].add((stream, caller()))
            return result

        return recorded

    def _drawer(self, draw):
        def recorded(shape, seed, *arguments, **options):
            where = caller()
            if where and hasattr(seed, "numpy"):
                words = tuple(np.ravel(seed))
                self.drawn[words] += 1
                if words not in self.made:
                    self.strangers.append((where, words))
            return draw(shape, seed, *arguments, **options)

        return recorded


def caller():
    """The function of ours that called, or None where it was a library's."""
    for frame in reversed(traceback.extract_stack()[:-2]):
        if frame.filename == __file__ or frame.name in ("_seed", "integers", "sample", "<genexpr>"):
            continue
        path = pathlib.Path(frame.filename)
        return (path.name, frame.name) if path.is_relative_to(ROOT) else None
    return None


# Trials may be repeated, and networks of two kinds may begin alike.
REPEATED = {Stream.EXAMPLES, Stream.GENERATOR_WEIGHTS, Stream.CRITIC_WEIGHTS}


@pytest.fixture
def eager():
    """So that every seed has a value."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def conditional():
    """A class-conditional GAN of points [2, 1, 1], whose every draw is made."""
    z, labels = keras.Input([4]), keras.Input([], dtype="int32")
    x = keras.layers.Multiply()([z, keras.layers.Embedding(3, 4)(labels)])
    generator = keras.Model([z, labels], keras.layers.Reshape([2, 1, 1])(keras.layers.Dense(2)(x)))
    images = keras.Input([2, 1, 1])
    flat = keras.layers.Flatten()(images)
    critic = keras.Model(images, [keras.layers.Dense(1)(flat), keras.layers.Dense(3)(flat)])
    prior = architectures.standard_normal(4)
    of_generator = [penalties.JacobianClamping(), penalties.OroJaR(1.0), penalties.PathLength(), penalties.OroJaR(2.0)]
    return models.GAN(
        generator,
        critic,
        generator_penalties=of_generator,
        critic_penalties=[penalties.GradientPenalty(), penalties.GradientPenalty()],
        d_steps=2,
        num_classes=3,
        dequantise=True,
        prior=prior,
    )


def test_no_seed_serves_two_purposes(tmp_path, monkeypatch, eager):
    """In a run, its analysis, and two steps of each model, all with seed 0."""
    monkeypatch.setattr(export, "export_generator", lambda *arguments, **options: None)  # tested elsewhere
    for figure in ("conditioning", "analysis", "walks"):
        monkeypatch.setattr(figures, figure, lambda *arguments: None)
    witness = Witness(monkeypatch)
    run = train(tmp_path / "run", "train_and_evaluate.steps = 2", gin_file="gaussian_ring")
    analysis.analyze(
        loading.load_any(run.path).generate, loading.draw_latents("normal", [4, 2], 0), tmp_path / "analysis"
    )
    images, classes = tf.zeros([4, 2, 1, 1], tf.uint8), tf.zeros([4], tf.int32)
    gan, vae = conditional(), models.VAE(*SMALL["dcgan_vae"](0)[:2])
    for _ in range(2):
        gan.train_step((images, classes))
        vae.train_step(tf.zeros([2, 8, 8, 1], tf.uint8))
    models.Memoriser(SMALL["mlp"](0).generator, pairs=4).memory(np.zeros([8, 2]))

    assert not witness.strangers
    streams = {stream for uses in witness.made.values() for stream, _ in uses}
    assert streams >= {
        *(Stream.MEASURED_LATENTS, Stream.LOADED_LATENTS, Stream.DIRECTIONS, Stream.DATA_ORDER, Stream.GAUSSIANS),
        *(Stream.TRAINING_LATENTS, Stream.TRAINING_LABELS, Stream.DEQUANTISATION, Stream.INTERPOLATION),
        *(Stream.CLAMPING, Stream.OROJAR, Stream.PATH_LENGTH, Stream.POSTERIOR, Stream.MEMORISED_LATENTS),
        *(Stream.GENERATOR_WEIGHTS, Stream.CRITIC_WEIGHTS, Stream.MEMORISED_IMAGES),
    }
    for words, uses in witness.made.items():
        assert len({stream for stream, _ in uses}) == 1, (words, uses)
        places = {place for stream, place in uses if stream not in REPEATED}
        assert len(places) <= 1, (words, uses)
    assert len(witness.drawn) > 20
